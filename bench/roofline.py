"""What the machine can do at the most, right now: compiles roofline.c for this processor and runs it."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
from pathlib import Path

import msgspec

SOURCE = Path(__file__).with_name("roofline.c")
PROGRAM = SOURCE.parent.parent / "build" / "bench" / "roofline"


class Roofline(msgspec.Struct, frozen=True):
    """Rates per second, of one thread and of all."""

    isa: str
    threads: int
    int8_1: float  # int8 multiply-adds
    int8_all: float
    read_1: float  # bytes read from memory
    read_all: float
    read_all_median: float = 0.0  # of several measurements; read_all is the best of them

    def __str__(self) -> str:
        return (
            f"{self.isa}, {self.threads} threads: int8 {self.int8_1 / 1e9:.0f} / {self.int8_all / 1e9:.0f} GMAC/s, "
            f"read {self.read_1 / 1e9:.1f} / {self.read_all / 1e9:.1f} GB/s (one thread / all), "
            f"all in the median {self.read_all_median / 1e9:.1f} GB/s"
        )


def measure(threads: int) -> Roofline:
    """Takes about a third of a second."""
    _compile()
    output = subprocess.run([PROGRAM, str(threads)], check=True, capture_output=True, text=True).stdout
    values = dict(line.split() for line in output.splitlines())
    return msgspec.convert(values, Roofline, strict=False)


def summary(measured: list[Roofline]) -> Roofline:
    """The best of each rate: whatever else runs on the machine can only make a measurement slower."""
    best = {name: max(getattr(x, name) for x in measured) for name in ("int8_1", "int8_all", "read_1", "read_all")}
    median = statistics.median(x.read_all for x in measured)
    return msgspec.structs.replace(measured[0], **best, read_all_median=median)


def _compile() -> None:
    if PROGRAM.exists() and PROGRAM.stat().st_mtime > SOURCE.stat().st_mtime:
        return
    compiler = os.environ.get("CC") or shutil.which("cc") or "gcc"
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([compiler, "-O3", "-march=native", "-pthread", str(SOURCE), "-o", str(PROGRAM)], check=True)


if __name__ == "__main__":
    print(summary([measure(len(os.sched_getaffinity(0)))]))

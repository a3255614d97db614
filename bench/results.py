"""Figures to a table on the terminal and to rows of bench/results/*.csv, each with the roofline of the same run."""

from __future__ import annotations

import csv
import platform
import statistics
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.roofline import Roofline
from bench.workload import Rates, Size

FOLDER = Path(__file__).with_name("results")


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a CSV file: tokens per second of one engine in one test."""

    date: str
    commit: str
    machine: str
    threads: int
    model: str
    engine: str
    test: str
    median: float
    best: float
    repeats: int
    roofline: float  # tokens per second that the machine allows
    fraction: float  # median / roofline
    isa: str
    int8_gmacs: float
    read_gbs: float


def figures(engine: str, model: str, rates: Rates, size: Size, roofline: Roofline) -> list[Figure]:
    rows = []
    for test, samples in rates.items():
        median, limit = statistics.median(samples), size.roofline_rate(test, roofline)
        rows.append(
            Figure(
                date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
                commit=_commit(),
                machine=_machine(),
                threads=roofline.threads,
                model=Path(model).name,
                engine=engine,
                test=test,
                median=round(median, 1),
                best=round(max(samples), 1),
                repeats=len(samples),
                roofline=round(limit, 1),
                fraction=round(median / limit, 3),
                isa=roofline.isa,
                int8_gmacs=round(roofline.int8_all / 1e9, 1),
                read_gbs=round(roofline.read_all / 1e9, 1),
            )
        )
    return rows


def append(name: str, rows: list[Figure]) -> Path:
    """Adds the rows to results/NAME.csv."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.csv"
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(Figure.__struct_fields__)
        writer.writerows(msgspec.structs.astuple(row) for row in rows)
    return path


def show(rows: list[Figure]) -> None:
    print(f"{'engine':18} {'test':6} {'median t/s':>11} {'best t/s':>10} {'roofline':>10} {'fraction':>9}")
    for r in rows:
        print(f"{r.engine:18} {r.test:6} {r.median:11.1f} {r.best:10.1f} {r.roofline:10.1f} {r.fraction:9.0%}")


def _commit() -> str:
    """Short id, with a plus when the files differ from it; "" outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty=+"]
    result = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=False)
    return result.stdout.strip()


def _machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()

"""Figures to a table on the terminal and to rows of bench/results/*.csv, each with the roofline of the same run."""

from __future__ import annotations

import csv
import platform
import statistics
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from bench.cost import Cost
from bench.roofline import Roofline
from bench.workload import Job, Rates

FOLDER = Path(__file__).with_name("results")


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """The columns that every file starts with."""

    date: str
    commit: str
    machine: str
    threads: int
    model: str


class Figure(Run, frozen=True, kw_only=True):
    """One line of a CSV file: tokens per second of one engine in one test."""

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
    read_median_gbs: float  # read_gbs is the best of the run
    kv: str  # type of the KV cache; "f16/q8_0" where keys and values differ


def figures(
    columns: dict[str, Any], engine: str, job: Job, rates: Rates, cost: Cost, roofline: Roofline
) -> list[Figure]:
    """columns: those of Run."""
    rows = []
    for test in job.tests:
        samples, limit = rates[test.name], cost.limit(test, roofline)
        median = statistics.median(samples)
        rows.append(
            Figure(
                **columns,
                engine=engine,
                test=test.name,
                median=round(median, 1),
                best=round(max(samples), 1),
                repeats=len(samples),
                roofline=round(limit, 1),
                fraction=round(median / limit, 3),
                isa=roofline.isa,
                int8_gmacs=round(roofline.int8_all / 1e9, 1),
                read_gbs=round(roofline.read_all / 1e9, 1),
                read_median_gbs=round(roofline.read_all_median / 1e9, 1),
                kv=job.kv,
            )
        )
    return rows


def run_columns(model: str, threads: int) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "commit": _commit(),
        "machine": _machine(),
        "threads": threads,
        "model": Path(model).name,
    }


def append(name: str, rows: Sequence[msgspec.Struct]) -> Path:
    """Adds the rows, all of one type, to results/NAME.csv; older rows get empty cells in columns they did not have."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.csv"
    old = read(name)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].__struct_fields__, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows([*old, *(msgspec.structs.asdict(row) for row in rows)])
    return path


def read(name: str) -> list[dict[str, str]]:
    """Rows of results/NAME.csv, the oldest first; none if there is no such file."""
    path = FOLDER / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def show(rows: Sequence[Figure]) -> None:
    print(f"{'engine':18} {'test':12} {'median t/s':>11} {'best t/s':>10} {'roofline':>10} {'fraction':>9}")
    for r in rows:
        print(f"{r.engine:18} {r.test:12} {r.median:11.1f} {r.best:10.1f} {r.roofline:10.1f} {r.fraction:9.0%}")


def show_ratios(rows: Sequence[Figure]) -> None:
    """Of the first engine to the second, test by test."""
    engines = list(dict.fromkeys(row.engine for row in rows))
    ours, peer = ({r.test: r.median for r in rows if r.engine == engine} for engine in engines)
    for test in ours:
        print(f"{test:12} {ours[test] / peer[test]:5.2f} times {engines[1]}")


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

"""How the rates change with the weight format, the number of sequences and the depth: one CSV file for each sweep.

    python -m bench.sweep [formats] [batch] [depth] [-m MODEL] [-t THREADS] [--rounds N] [--peer]

Without names, all three.  `formats` measures random-weight models (--shape), made one at a time in a temporary folder
and deleted after; the others take a model as bench.engine does.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench import options, shapes
from bench.results import append, show
from bench.rounds import ENGINES, WorkerFailed, run, run_worker
from bench.workload import Job, parse

DEPTHS = (0, 1024, 4096, 8192)
TESTS = {
    "formats": "pp512,tg32",
    "batch": ",".join(f"b{n}" for n in (1, 2, 4, 8, 12, 16, 24, 32)),
    "depth": ",".join(f"{test}@{depth}" for depth in DEPTHS for test in ("pp512", "tg32")),
}


def main() -> None:
    wishes = _arguments()
    engines = list(ENGINES) if wishes.peer else ["llamatw"]
    for sweep in wishes.sweeps or TESTS:
        if sweep == "formats":
            _sweep_formats(wishes, engines)
        else:
            _measure(sweep, options.job(wishes, parse(TESTS[sweep])), wishes.rounds, engines)


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__)
    parser.set_defaults(repeats=1)
    parser.add_argument("sweeps", nargs="*", metavar="formats, batch, depth")
    parser.add_argument("--shape", choices=shapes.SHAPES, default="1.2b", help="of `formats` (%(default)s)")
    parser.add_argument("--formats", default=",".join(shapes.FORMATS), help="of `formats` (all)")
    parser.add_argument("--peer", action="store_true", help="llama-cpp-python too")
    wishes = parser.parse_args()
    if unknown := set(wishes.sweeps) - set(TESTS):
        parser.error(f"no such sweep: {', '.join(unknown)}")
    if unknown := set(wishes.formats.split(",")) - set(shapes.FORMATS):
        parser.error(f"no such format: {', '.join(unknown)}")
    return wishes


def _sweep_formats(wishes: argparse.Namespace, engines: Sequence[str]) -> None:
    for name in wishes.formats.split(","):
        with tempfile.TemporaryDirectory(prefix="llamatw-bench-") as folder:
            path = Path(folder) / f"{wishes.shape}-{name}.gguf"
            shapes.write(shapes.SHAPES[wishes.shape], name, path)
            _measure("formats", options.job(wishes, parse(TESTS["formats"]), str(path)), wishes.rounds, engines)


def _measure(sweep: str, job: Job, n_rounds: int, engines: Sequence[str]) -> None:
    """What cannot be measured (a format that an engine does not know) is said and left out."""
    print(f"\n{sweep}: {Path(job.model).name}")
    able = [engine for engine in engines if _can_run(engine, job)]
    if able:
        rows = run(job, n_rounds, able)
        show(rows)
        print(append(sweep, rows))


def _can_run(engine: str, job: Job) -> bool:
    try:
        run_worker(engine, msgspec.structs.replace(job, tests=parse("tg1"), repeats=0))
    except WorkerFailed as error:
        print(f"{engine}: {error}")
        return False
    return True


if __name__ == "__main__":
    main()

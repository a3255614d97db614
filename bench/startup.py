"""From the start of a process to a loaded engine and to the first token, and what memory that took.

    python -m bench.startup [-m MODEL] [-t THREADS] [--rounds N] [-ctk T] [-ctv T]

The process imports the package, opens the model with the server's default settings and makes one step of a 16-token
prompt; the file is in the page cache.  The KV pool counts as resident only where it has been written to.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from bench import options
from bench.results import Run, append, run_columns
from bench.workload import Job

N_PROMPT = 16
CHUNK_BYTES = 1 << 24


class Startup(msgspec.Struct, frozen=True):
    """What one process says.  Clock readings in seconds of CLOCK_MONOTONIC, which processes share; memory in bytes."""

    imported_s: float
    ready_s: float
    first_token_s: float
    bare_bytes: int  # resident with the package imported, before the model
    resident_bytes: int  # at the end
    peak_bytes: int
    weight_bytes: int  # packed, as the engine reports; so the next two
    kv_bytes: int
    scratch_bytes: int


class Figure(Run, frozen=True, kw_only=True):
    """One line of startup.csv: medians of the rounds; times since the process was started."""

    kv: str
    rounds: int
    imported_ms: float
    ready_ms: float
    first_token_ms: float
    file_mib: float
    bare_mib: float
    resident_mib: float
    peak_mib: float
    weight_mib: float
    kv_mib: float
    scratch_mib: float


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        print(msgspec.json.encode(_start(msgspec.json.decode(sys.argv[2], type=Job))).decode())
        return
    wishes = options.parser(__doc__).parse_args()
    job = options.job(wishes, tests=[])
    _read_through(job.model)
    figure = _figure(job, [_round(job) for _ in range(wishes.rounds)])
    _show(figure)
    print(append("startup", [figure]))


def _round(job: Job) -> Startup:
    """With times since the process was started."""
    command = [sys.executable, "-m", "bench.startup", "--child", msgspec.json.encode(job).decode()]
    start = time.monotonic()
    said = msgspec.json.decode(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout, type=Startup)
    since = {name: getattr(said, name) - start for name in ("imported_s", "ready_s", "first_token_s")}
    return msgspec.structs.replace(said, **since)


def _start(job: Job) -> Startup:
    from llamatw.capi.engine import Engine, Row
    from llamatw.capi.records import SamplingParams
    from llamatw.settings import EngineSettings

    imported, bare = time.monotonic(), _memory("VmRSS")
    settings = EngineSettings(model_path=job.model, n_threads=job.threads, k_type=job.k_type, v_type=job.v_type)
    engine = Engine.open(job.model, settings)
    ready, info = time.monotonic(), engine.info
    seq, _ = engine.open_seq(range(info.n_vocab // 2, info.n_vocab // 2 + N_PROMPT), SamplingParams())
    engine.step([Row(seq, N_PROMPT)])
    times, memory = (imported, ready, time.monotonic()), (bare, _memory("VmRSS"), _memory("VmHWM"))
    return Startup(*times, *memory, info.weight_bytes, info.kv_bytes, info.scratch_bytes)


def _memory(name: str) -> int:
    """Bytes of this process, by a name in /proc/self/status."""
    match = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1]) * 1024


def _figure(job: Job, rounds: list[Startup]) -> Figure:
    said = {name: statistics.median(getattr(x, name) for x in rounds) for name in Startup.__struct_fields__}
    return Figure(
        **run_columns(job.model, job.threads),
        kv=job.kv,
        rounds=len(rounds),
        imported_ms=round(said["imported_s"] * 1e3, 1),
        ready_ms=round(said["ready_s"] * 1e3, 1),
        first_token_ms=round(said["first_token_s"] * 1e3, 1),
        file_mib=_mib(Path(job.model).stat().st_size),
        bare_mib=_mib(said["bare_bytes"]),
        resident_mib=_mib(said["resident_bytes"]),
        peak_mib=_mib(said["peak_bytes"]),
        weight_mib=_mib(said["weight_bytes"]),
        kv_mib=_mib(said["kv_bytes"]),
        scratch_mib=_mib(said["scratch_bytes"]),
    )


def _mib(n_bytes: float) -> float:
    return round(n_bytes / (1 << 20), 1)


def _show(f: Figure) -> None:
    times = f"package {f.imported_ms:.0f}, ready {f.ready_ms:.0f}, first token {f.first_token_ms:.0f}"
    print(f"milliseconds since the start: {times}")
    parts = f"weights {f.weight_mib:.0f} + KV {f.kv_mib:.0f} + scratch {f.scratch_mib:.0f} + Python {f.bare_mib:.0f}"
    print(f"resident {f.resident_mib:.0f} MiB, at the most {f.peak_mib:.0f}; {parts}; file {f.file_mib:.0f}")


def _read_through(path: str) -> None:
    with open(path, "rb", buffering=0) as file:
        while file.read(CHUNK_BYTES):
            pass


if __name__ == "__main__":
    main()

"""Starts the process that fetches, passes on what it says, and ends it when nobody wants the model any more."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import IO

import msgspec

from llamatw.errors import ModelError
from llamatw.hub.job import Job, Report

_POLL_S = 0.2  # how soon a cancelled fetch ends
_CHUNK = 1 << 16


def run(job: Job, lock: IO[str], cancel: Event, progress: Callable[[str], None]) -> Path:
    """The model's first file.  The process holds the lock as well: it may outlive us by a moment."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "llamatw.hub"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            pass_fds=(lock.fileno(),),
        )
        with child:
            try:
                for report in _reports(child, job, cancel):
                    if report.error:
                        raise ModelError(report.error)
                    if report.path:
                        return Path(report.path)
                    progress(report.progress)
            finally:
                child.kill()
        errors.seek(0)
        last = errors.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ModelError(f"the process that fetches the model has died: {last or child.returncode}")


def _reports(child: subprocess.Popen[bytes], job: Job, cancel: Event) -> Iterator[Report]:
    assert child.stdin is not None
    assert child.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it has died: it will have said why
        os.write(child.stdin.fileno(), msgspec.json.encode(job) + b"\n")  # less than a pipe holds
    rest = b""
    while True:
        if cancel.is_set():
            raise ModelError("fetching the model was cancelled")
        if not select.select([child.stdout], [], [], _POLL_S)[0]:
            continue
        data = os.read(child.stdout.fileno(), _CHUNK)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from (msgspec.json.decode(line, type=Report) for line in lines)

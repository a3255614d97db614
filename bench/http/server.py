"""A `twistd llama` of this checkout, started to be measured, and what the system says about a process."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TWISTD = "import sys; from twisted.scripts.twistd import run; run()"
PATIENCE_S = 120.0  # until it listens
ANNOUNCED = re.compile(r"listening on (http://\S+)")


class Process:
    """What Linux says about the server's process."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    @property
    def rss_mib(self) -> float:
        """Resident memory."""
        return int((self._folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

    @property
    def n_fds(self) -> int:
        """Open file descriptors, sockets among them."""
        return len(os.listdir(self._folder / "fd"))


@contextlib.contextmanager
def serving(flags: Sequence[str]) -> Iterator[tuple[str, Process]]:
    """URL and process of a server with these flags, stopped at the end.  Raises RuntimeError with its last words."""
    with tempfile.TemporaryDirectory(prefix="llamatw-bench-") as folder:
        log = Path(folder) / "server.log"
        words = [sys.executable, "-c", TWISTD, "-n", "--pidfile=", "llama", "--port", "0", *flags]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with log.open("w") as out:
            process = subprocess.Popen(words, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield _url(process, log), Process(process.pid)
        finally:
            process.terminate()
            process.wait(60)
            _show_failures(log)


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := ANNOUNCED.search(log.read_text())):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server does not listen: {log.read_text()[-500:]}")
        time.sleep(0.02)
    return found[1]


def _show_failures(log: Path) -> None:
    """A measured server that fails in places is worth knowing about."""
    said = log.read_text()
    if "Traceback" in said:
        print(f"the server's log has tracebacks, the first:\n{said[said.index('Traceback') :][:2000]}", file=sys.stderr)

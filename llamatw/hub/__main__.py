"""The process that fetches.  Its job is the first line of standard input; when that ends, so does the process: whoever
started it is gone.  It leaves signals alone, so being told to end ends it at once, with all that came on the disk.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from llamatw.errors import ModelError
from llamatw.hub import cache, download, listing, token
from llamatw.hub.job import Job, Report
from llamatw.hub.web import Web


def main() -> None:
    from twisted.internet import reactor

    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work: Any = reactor
    work.callWhenRunning(_start, job, work)
    work.run(installSignalHandlers=False)


def _start(job: Job, reactor: Any) -> None:
    Deferred.fromCoroutine(_run(job, reactor)).addErrback(_unexpected).addBoth(lambda _: reactor.stop())


def _unexpected(failure: Failure) -> None:
    """To standard error, of which whoever started us shows the last line."""
    failure.printTraceback(file=sys.stderr)  # type: ignore[no-untyped-call]


def _end_with_parent() -> None:
    """Past Python's buffers, whose lock would be held at the end of the process."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


async def _run(job: Job, reactor: Any) -> None:
    try:
        _report(Report(path=str(await fetch(job, reactor))))
    except ModelError as error:
        _report(Report(error=error.message))
    except OSError as error:
        _report(Report(error=f"{error.filename or job.folder}: {error.strerror or error}"))


async def fetch(job: Job, reactor: Any) -> Path:
    """The model's first file.  A hub that cannot be asked, or says no, leaves what the cache has, at once."""
    web = Web(reactor, job.endpoint, token.find(job.wanted.token), job.patience)
    where = Path(job.folder)
    kept = cache.find(where, job.wanted)
    try:
        files = await web.patiently(lambda: listing.find(web, job.endpoint, job.wanted), _say, 1 if kept else None)
    except ModelError as error:
        if kept is None:
            raise
        _say(f"{error.message}; taking what is in the cache")
        return kept
    directory = where / cache.version(files)
    if not cache.is_complete(directory, files):
        directory.mkdir(parents=True, exist_ok=True)
        download.check_room(directory, files)
        for file in files:
            await download.fetch(web, file, directory, _say)
        cache.seal(directory, files)
    return directory / files[0].path


def _say(line: str) -> None:
    _report(Report(progress=line))


def _report(report: Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

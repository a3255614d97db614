"""The process that fetches, for many jobs: one a line in, its reports out.  Starting it for each takes a second."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from llamatw.hub.__main__ import _run
from llamatw.hub.job import Job


def main() -> None:
    from twisted.internet import reactor

    work: Any = reactor
    work.callInThread(serve, work)
    work.run(installSignalHandlers=False)


def serve(reactor: Any) -> None:
    for line in sys.stdin.buffer:
        job = msgspec.json.decode(line, type=Job)
        reactor.callFromThread(lambda job=job: Deferred.fromCoroutine(_run(job, reactor)))
    reactor.callFromThread(reactor.stop)


main()

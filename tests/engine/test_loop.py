"""The loop in its real thread, with Twisted's real reactor in a process of its own: what pumping cannot show."""

from __future__ import annotations

import subprocess
import sys
import time
from array import array

from llamatw.capi.fake import FakeEngine
from llamatw.engine.loop import Abort, Rest, StepLoop, Stop, Submit
from llamatw.engine.sequence import FinishReason, Sequence
from llamatw.settings import EngineSettings

_PROGRAM = """
import threading, time
from twisted.internet import reactor, defer
from llamatw.capi.fake import FakeEngine
from llamatw.engine.sequence import GenerationParams
from llamatw.engine.service import EngineService
from llamatw.settings import EngineSettings

settings = EngineSettings(model_path="m.gguf", n_ctx=65536, n_seqs=8)
engine = FakeEngine(settings, say="abc" * 50)
threads = set()
step = engine.step
engine.step = lambda rows: (threads.add(threading.current_thread()), time.sleep(0.0005), step(rows))[2]
service = EngineService(settings, reactor, opener=FakeEngine.opener(engine))

async def read(n):
    stream = service.submit([97 + n] * 100, GenerationParams())
    return "".join([delta.text async for delta in stream])

async def leave():
    await service.submit([1, 2, 3], GenerationParams()).next()

async def main():
    service.startService()
    while service.state == "loading":
        await sleep(0.001)
    leaver = defer.ensureDeferred(leave())
    leaver.addErrback(lambda failure: failure.trap(defer.CancelledError))
    leaver.cancel()
    texts = await defer.gatherResults([defer.ensureDeferred(read(n)) for n in range(20)])
    assert texts == ["abc" * 50] * 20, texts
    await service.stopService()
    assert engine.closed and engine.stats().seqs_open == 0
    assert len(threads) == 1 and threading.main_thread() not in threads
    print("well", service.snapshot().finished)

def sleep(seconds):
    waiting = defer.Deferred()
    reactor.callLater(seconds, waiting.callback, None)
    return waiting

defer.ensureDeferred(main()).addErrback(lambda failure: failure.printTraceback()).addBoth(lambda _: reactor.stop())
reactor.run()
print("threads left:", threading.active_count())
"""


def test_twenty_streams_through_a_real_thread():
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "well" in done.stdout and "'eos': 20" in done.stdout and "'abort': 1" in done.stdout, done.stdout
    assert "threads left: 1" in done.stdout


class Deaf:
    """A listener that does not care."""

    def loaded(self, engine):
        pass

    failed = deliver = loaded


def test_a_loop_that_stops_does_not_spin_while_its_readers_rest():
    engine = FakeEngine(EngineSettings(model_path="m"), say="a" * 500)
    loop = StepLoop(EngineSettings(model_path="m"), FakeEngine.opener(engine), Deaf(), lambda *_: None, time.monotonic)
    for message in (Submit(Sequence(id=0, prompt=array("i", [1])), 0.0), Rest(0, True), Stop()):
        loop.post(message)
    turns = loop.turns(block=True)
    for _ in range(2):
        next(turns)
    started = time.monotonic()
    for _ in range(3):
        next(turns)
    assert time.monotonic() - started > 0.2
    loop.post(Abort(0, FinishReason.ABORT))
    assert len(list(turns)) <= 1 and engine.closed

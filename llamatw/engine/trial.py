"""Compiles a schema or Lark grammar in a process of its own first: one that takes for ever or breaks the compiler ends
there.  What has passed is known to compile within the time and memory that it had.

    pool thread --source--> helper, which has imported the compiler --fork--> one process for each trial, with limits
                <--verdict--

As a program it is a helper, given the number of its socket.  It ends when the other end is closed.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import weakref
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from select import select

from llamatw.errors import Unavailable

_CPU_S = 0.5  # of processor time
_WALL_S = 20.0  # the machine may be busy
PROMPT_S = 0.005  # of wall time; who takes longer leaves the processor to those who generate
_NICE = 10  # then: a tenth of what they use
_MEMORY = 1 << 30  # bytes of address space
_TOO_MUCH = f"compiling it takes too long or too much memory: the limits are {_CPU_S} s and {_MEMORY >> 20} MiB"
_PART = 1 << 16  # bytes
_ENDED = "the process that tries schemas has ended; another one will be started"
_STOPPING = "the server is stopping"


class Trials:
    """Any thread, and several at once: each has a helper to itself meanwhile."""

    def __init__(self) -> None:
        self._idle: list[_Helper] = []
        self._busy: set[_Helper] = set()
        self._is_over = False

    def stop(self) -> None:
        """Ends all helpers; who waits for a verdict gets Unavailable."""
        self._is_over = True
        for helper in (*self._busy, *self._idle):
            helper.kill()

    def prepare(self) -> None:
        """Starts a helper, so that the first trial need not wait for it."""
        self._idle.append(_Helper())

    def verdict(self, source: str) -> str:
        """What is wrong with a grammar, in llguidance's words; "" when nothing is.  Unavailable: nobody knows."""
        helper = self._idle_one() or _Helper()
        self._busy.add(helper)
        try:
            if self._is_over:  # looked at by whom stop() has not seen
                raise EOFError
            verdict = helper.ask(source)
        except (EOFError, OSError):
            helper.close()
            raise Unavailable(_STOPPING if self._is_over else _ENDED) from None
        finally:
            self._busy.discard(helper)
        if verdict is None:
            helper.close()
            return "compiling it takes too long"
        self._idle.append(helper)
        return verdict

    def _idle_one(self) -> _Helper | None:
        with suppress(IndexError):
            while True:
                helper = self._idle.pop()
                if helper.is_alive:
                    return helper
                helper.close()
        return None


class _Helper:
    def __init__(self) -> None:
        self._socket, its = Pipe()
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-SP", __file__, str(its.fileno())],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                process_group=0,  # a Ctrl-C is for the server; niceness counts within a session only
            )
        self.close = weakref.finalize(self, _end, self._process, self._socket)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        _kill(self._process)

    def ask(self, source: str) -> str | None:
        """None: no verdict in time.  EOFError, OSError: the helper is gone."""
        self._socket.send_bytes(source.encode())
        return self._socket.recv_bytes().decode("utf-8", "replace") if self._socket.poll(_WALL_S) else None


def _end(process: subprocess.Popen[bytes], socket: Connection) -> None:
    socket.close()
    _kill(process)
    process.wait()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):  # another thread may have seen its end meanwhile
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # with the trial that it waits for


# ---- in the helper ----


def _help(socket: Connection) -> None:
    from llguidance import LLMatcher, LLParserLimits

    def validate(source: str) -> str:
        return LLMatcher.validate_grammar(source, limits=LLParserLimits(verbose_errors=False))

    validate(LLMatcher.grammar_from_json_schema("{}"))  # whatever it makes when first used
    with suppress(EOFError, OSError):
        while True:
            source = socket.recv_bytes().decode()
            reads, writes = os.pipe()
            child = os.fork()
            if not child:
                _limit()
                os.write(writes, validate(source).encode()[:_PART])
                os._exit(0)
            os.close(writes)
            if not select([reads], [], [], PROMPT_S)[0]:
                os.setpriority(os.PRIO_PROCESS, child, _NICE)
            with open(reads, "rb") as pipe:
                verdict = pipe.read()
            socket.send_bytes(_TOO_MUCH.encode() if os.waitpid(child, 0)[1] else verdict)


def _limit() -> None:
    signal.setitimer(signal.ITIMER_PROF, _CPU_S)  # which ends the process, unless its signal is ignored or blocked
    resource.setrlimit(resource.RLIMIT_CPU, (1, 1))  # in whole seconds, but nothing holds it off
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


if __name__ == "__main__":
    _help(Connection(int(sys.argv[1])))

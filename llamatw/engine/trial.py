"""Compiles a schema or Lark grammar in a process of its own first: one that takes for ever or breaks the compiler ends
there.  What has passed is known to compile within the time and memory that it had.

As a program it reads a grammar, in llguidance's words, from standard input, and prints what is wrong with it.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys

_CPU_S = 1  # of processor time, start of the process included
_WALL_S = 20.0  # the machine may be busy
_MEMORY = 1 << 30  # bytes of address space


def verdict(source: str) -> str:
    """What is wrong with a grammar, "" when nothing is.  Any thread."""
    command = [sys.executable, "-S", __file__]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        done = subprocess.run(
            command, input=source.encode(), capture_output=True, timeout=_WALL_S, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return "compiling it takes too long"
    if done.returncode:
        return f"compiling it takes too long or too much memory: the limits are {_CPU_S} s and {_MEMORY >> 20} MiB"
    return done.stdout.decode("utf-8", "replace")


def _main() -> None:
    from llguidance import LLMatcher, LLParserLimits

    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    source = sys.stdin.buffer.read().decode()
    sys.stdout.write(LLMatcher.validate_grammar(source, limits=LLParserLimits(verbose_errors=False)))


if __name__ == "__main__":
    _main()

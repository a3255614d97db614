"""What the two processes say to each other: a job on standard input, reports on standard output, JSON by lines."""

from __future__ import annotations

import msgspec

from llamatw.settings import Remote


class Patience(msgspec.Struct, frozen=True):
    """Seconds, and how often."""

    connect_s: float = 15.0
    answer_s: float = 60.0  # until a response's head is there
    stall_s: float = 60.0  # without a byte of its body
    pause_s: float = 1.0  # before the second try; each further one doubles it
    max_pause_s: float = 60.0  # also where the host asks for more
    n_tries: int = 5  # one after the other that bring nothing


class Job(msgspec.Struct, frozen=True, kw_only=True):
    wanted: Remote
    endpoint: str
    folder: str  # of all versions of it
    patience: Patience = Patience()


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of these."""

    progress: str = ""
    path: str = ""  # of the model's first file: done
    error: str = ""  # the sentence for the user: done

"""The flags that are served, in the groups and order that help shows them in."""

from __future__ import annotations

from llamatw.flags import engine, web
from llamatw.flags.defaults import SAMPLING
from llamatw.flags.kinds import Flag

_ABOUT = [
    Flag(name="help", also=("-h", "--usage"), help="show this"),
    Flag(name="version", help="show the version"),
]

GROUPS: list[tuple[str, list[Flag]]] = [
    ("About", _ABOUT),
    ("Model", engine.MODEL),
    ("Context and cache", engine.CONTEXT),
    ("Positions", engine.POSITIONS),
    ("Threads and queue", engine.THREADS),
    ("Listening", web.LISTENING),
    ("Who may ask", web.ACCESS),
    ("What is served", web.SERVER),
    ("Chat", web.CHAT),
    ("Defaults of requests", SAMPLING),
    ("Logs", web.LOGS),
]

FLAGS: list[Flag] = [flag for _, flags in GROUPS for flag in flags]

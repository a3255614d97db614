"""What a connection and a request may cost, all in one place.  Sizes in bytes, times in seconds."""

from __future__ import annotations

import resource

MAX_BODY_BYTES = 32 << 20
MAX_URI_BYTES = 8 << 10
MAX_HEAD_BYTES = 16 << 10  # request line and headers together
MAX_HEADERS = 100
MAX_DEPTH = 64  # of arrays and objects in one another
MAX_COMMAS = 2_000_000  # no more values than that: decoding them holds up everybody, and each becomes an object
MAX_OBJECTS = 100_000  # dearer than other values

HEAD_S = 10.0  # from a request's first byte to the end of its headers
BODY_GRACE_S = 10.0  # a body may take this, and a second for each ...
BODY_BYTES_PER_S = 1 << 10  # ... of these
IDLE_S = 75.0  # between two requests
LINGER_S = 2.0  # between refusing a request and hanging up, so that the client reads why

MAX_CONNECTIONS = 4096
_OTHER_FILES = 64  # descriptors for other things than connections


def max_connections() -> int:
    """As many as the table says, or as there are descriptors for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(1, min(MAX_CONNECTIONS, soft - _OTHER_FILES))

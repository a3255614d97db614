"""The user's token for the hub: given, else where the hub's own tools look for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from llamatw.errors import ModelError


def find(given: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """None: there is none.  Raises ModelError, without the token, when it cannot be one."""
    token = (given or environment.get("HF_TOKEN") or _kept(environment)).strip()
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise ModelError("the token for the hub has characters that no token has")
    return token or None


def _kept(environment: Mapping[str, str]) -> str:
    """In the file that logging in with those tools writes."""
    caches = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = environment.get("HF_HOME") or Path(caches, "huggingface")
    try:
        return Path(environment.get("HF_TOKEN_PATH") or Path(home, "token")).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""

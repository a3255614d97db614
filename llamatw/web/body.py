"""What is looked at in the bytes of a body before they are decoded: what would be dear to decode, or decode wrongly.

Keys that stand twice count as they stand last: nobody else reads a body before us and could have read it differently.
"""

from __future__ import annotations

import re

from llamatw.errors import BadRequest
from llamatw.web.bounds import MAX_COMMAS, MAX_DEPTH

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_PAIR = re.compile(rb"\[\]|\{\}")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def check_json(body: bytes) -> None:
    """400 for too many values, too deep ones, and bytes that are no UTF-8."""
    if body.count(b",") > MAX_COMMAS:
        raise BadRequest(f"the body holds more than {MAX_COMMAS} commas: too many values")
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deep(body):
        raise BadRequest(f"the body is nested too deeply: more than {MAX_DEPTH} arrays and objects in one another")
    try:
        body.decode()  # the decoder does not look into the strings that it skips
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from None


def _is_deep(body: bytes) -> bool:
    """Takes the innermost pairs away again and again: each round is one level.  What does not go away is no JSON."""
    brackets = _STRING.sub(b"", body).translate(None, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        n_before = len(brackets)
        brackets = _PAIR.sub(b"", brackets)
        if len(brackets) == n_before:
            return False
    return bool(brackets)

"""Writes unicode_tables.c beside this file: one class byte for each code point, in two stages.

Run by hand when the Unicode standard moves on; needs the `unicodedata2` package for a newer standard than Python's own.
"""

from __future__ import annotations

import pathlib

try:
    import unicodedata2 as unicodedata  # type: ignore
except ImportError:
    import unicodedata

BLOCK = 256  # code points in a second-stage block
MAJOR = {"L": 1, "M": 2, "N": 4, "P": 8, "S": 16}  # LT_RUNE_* in runes.h
WHITE_SPACE, UPPER, LOWER = 32, 64, 128
CONTROL_SPACES = {0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x85}  # White_Space beyond the Z categories


def class_of(code_point: int) -> int:
    category = unicodedata.category(chr(code_point))
    bits = MAJOR.get(category[0], 0)
    if category[0] == "Z" or code_point in CONTROL_SPACES:
        bits |= WHITE_SPACE
    if category in ("Lu", "Lt"):
        bits |= UPPER
    if category == "Ll":
        bits |= LOWER
    return bits


def two_stages() -> tuple[list[int], list[bytes]]:
    """First stage: block number of each 256 code points; second stage: the distinct blocks."""
    numbers: dict[bytes, int] = {}
    first = []
    for start in range(0, 0x110000, BLOCK):
        block = bytes(class_of(code_point) for code_point in range(start, start + BLOCK))
        first.append(numbers.setdefault(block, len(numbers)))
    assert len(numbers) <= 256, "a block number is one byte"
    return first, list(numbers)


def rows(values: list[int] | bytes) -> str:
    lines = (values[i : i + 128] for i in range(0, len(values), 128))
    return "\n".join("    " + ",".join(str(value) for value in line) + "," for line in lines)


def main() -> None:
    first, blocks = two_stages()
    second = "\n".join(rows(block) for block in blocks)
    source = f"make_unicode_tables.py from Unicode {unicodedata.unidata_version}"
    text = f"""/* unicode_tables.c - written by {source}; do not edit. */
/* clang-format off */
#include "token/unicode_tables.h"

const uint8_t lt_unicode_block[{len(first)}] = {{
{rows(first)}
}};

const uint8_t lt_unicode_class[{len(blocks) * BLOCK}] = {{
{second}
}};
"""
    pathlib.Path(__file__).with_name("unicode_tables.c").write_text(text)


if __name__ == "__main__":
    main()

"""Writes unicode_tables.c beside this file: classes of code points, letters without case and accents.

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
WHITE_SPACE, UPPER, LOWER, DIGIT, ACCENT, CONTROL = 32, 64, 128, 256, 512, 1024
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
    if category == "Nd":
        bits |= DIGIT
    if category == "Mn":
        bits |= ACCENT
    if category in ("Cc", "Cf", "Co", "Cs"):
        bits |= CONTROL
    return bits


def two_stages() -> tuple[list[int], list[tuple[int, ...]]]:
    """First stage: block number of each 256 code points; second stage: the distinct blocks."""
    numbers: dict[tuple[int, ...], int] = {}
    first = []
    for start in range(0, 0x110000, BLOCK):
        block = tuple(class_of(code_point) for code_point in range(start, start + BLOCK))
        first.append(numbers.setdefault(block, len(numbers)))
    assert len(numbers) <= 256, "a block number is one byte"
    return first, list(numbers)


def without_accents(code_point: int) -> list[int]:
    """Canonical decomposition, less its nonspacing marks."""
    parts = unicodedata.normalize("NFD", chr(code_point))
    return [ord(part) for part in parts if unicodedata.category(part) != "Mn"]


def folds() -> list[tuple[int, list[int], list[int]]]:
    """(code point, base, lower case) of all that have another one, but for Hangul syllables, which follow a rule."""
    found = []
    for code_point in (*range(0x80, 0xAC00), *range(0xD7A4, 0xD800), *range(0xE000, 0x110000)):
        base = without_accents(code_point)
        lower = [ord(char) for char in chr(code_point).lower()]
        if unicodedata.category(chr(code_point)) != "Mn" and (base != [code_point] or lower != [code_point]):
            found.append((code_point, base, lower))
    return found


def fold_rows() -> str:
    """Rows of lt_unicode_folds, an unused place of a base being 0."""
    lines = []
    for code_point, base, lower in folds():
        assert len(base) <= 3 and len(lower) <= 2 and (len(lower) == 1 or code_point == 0x130)
        padded = ",".join(str(part) for part in [*base, 0, 0, 0][:3])
        lines.append(f"{{{code_point},{{{padded}}},{lower[0]}}},")
    return "\n".join("    " + "".join(lines[i : i + 12]) for i in range(0, len(lines), 12))


def rows(values: list[int] | tuple[int, ...]) -> str:
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

const uint16_t lt_unicode_class[{len(blocks) * BLOCK}] = {{
{second}
}};

const lt_unicode_fold lt_unicode_folds[] = {{
{fold_rows()}
}};
const uint32_t lt_n_unicode_folds = sizeof lt_unicode_folds / sizeof *lt_unicode_folds;
"""
    pathlib.Path(__file__).with_name("unicode_tables.c").write_text(text)


if __name__ == "__main__":
    main()

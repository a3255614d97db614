"""Texts of every kind for tokenizers: words of many scripts, code points from all over Unicode, special tokens."""

from __future__ import annotations

import random
import sys
import unicodedata
from collections.abc import Callable, Sequence

ASSIGNED = [chr(c) for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
WORDS = (
    "the and I'm don't We'LL 's 1234 12345678 foo_bar x=3; http://a.b/c?d=e ñandú Größe Ελλάδα русский 日本語 中文字符 "
    "한국어 עברית العربية 🙂👍🏽 e\u0301 \u3000 \u00a0 ½ Ⅷ ٣٤ \uff0c。\uff01 “quoted” `code` $5 <b> </s> ~~ \t\n \r\n "
    "'\u017f '\u017f'S 1234567890 \u00bd12345 12345\u00e9 123abc ABC\u3042DEfg \u01c5a \u02b0B a\u02b0 \u0301A "
    "!/ ;// .[a (IMGIMGABCZ <sentinel:12> "
    "\ufdfa \ufb01x \u1e9b\u0323 \u0130I \uac01 \u1100\u1161 \u2581a \u24b6 \u0e40\u0e01 \u4e2d\u3007 1_000 x\u200dy"
).split(" ")


def random_text(rng: random.Random, specials: Sequence[str] = ()) -> str:
    """Words, code points from all over Unicode and special tokens, in one of five mixtures."""
    sources: list[Callable[[], str]] = [
        lambda: rng.choice(ASSIGNED),
        lambda: chr(rng.randrange(32, 127)),
        lambda: rng.choice(["", " ", "  ", "\n"]) + rng.choice(WORDS),
        lambda: rng.choice(" \n\ta1!\u0e01") * rng.choice([1, 2, 3, 4, 5, 8, 9, 17, 70, 600]),
        lambda: rng.choice(specials),
    ]
    weights = rng.choice(
        [(1, 0, 0, 0, 0), (0, 6, 1, 0, 0), (0, 0, 1, 0, 0), (0, 3, 6, 1, 0), (1, 2, 1, 0, 1 if specials else 0)]
    )
    return "".join(source() for source in rng.choices(sources, weights, k=rng.randrange(40)))

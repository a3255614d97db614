"""The rules of BPE and SPM tokenizing written down as directly as can be: the oracle for the engine's.

Cuts text with the published regular expressions (`regex` package).  Reads the metadata itself: the `gguf` package takes
half a minute for the larger vocabularies.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 1, 2, 3, 4, 5

CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CASED = (  # DeepSeek lists the cased letters of these blocks
    r"[\u0295[[\p{Lu}\p{Ll}\p{Lt}]&&[A-Za-z\u00b5-\u055f\u10a0-\u10c5\u13a0-\u1fff\u2100-\u2cff\ua640-\ua78e"
    r"\uab70-\uabbf\ufb00-\uff5a"
    r"\U00010400-\U0001044f\U000104b0-\U000104fb\U00010c80-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943]"
    r"&&[^\u1c80-\u1c8a]]]"
)
PATTERNS = {
    "llama-bpe": [LLAMA3 % "{1,3}"],
    "qwen2": [LLAMA3 % ""],
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "starcoder": [r"\p{N}", GPT2],
    "falcon": [r"[\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"],
    "deepseek-llm": [
        r"[\r\n]",
        rf"\s?{CASED}+",
        "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
        r"\s+\Z",
        "[\u0800-\u9fa5\uac00-\ud7ff]+",
        r"\p{N}+",
    ],
}


STRING, ARRAY = 8, 9
SCALARS = dict(zip([*range(8), *range(10, 13)], "BbHhIif?Qqd", strict=True))  # GGUF type: struct code


class Metadata:
    """The key-value pairs of a (correct) GGUF file."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.at = 24
        self.pairs = {}
        for _ in range(struct.unpack_from("<Q", self.raw, 16)[0]):
            key = self.value(STRING)
            self.pairs[key] = self.value(self.scalars("I")[0])

    def scalars(self, code: str, n: int = 1) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{n}{code}", self.raw, self.at)
        self.at += struct.calcsize(f"<{n}{code}")
        return values

    def value(self, kind: int) -> Any:
        if kind == STRING:
            (n,) = self.scalars("Q")
            self.at += n
            return self.raw[self.at - n : self.at].decode()
        if kind == ARRAY:
            item, n = self.scalars("I")[0], self.scalars("Q")[0]
            return self.scalars(SCALARS[item], n) if item in SCALARS else [self.value(item) for _ in range(n)]
        return self.scalars(SCALARS[kind])[0]


def byte_map() -> dict[int, str]:
    """GPT-2's printable character for every byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(others)}


class SlowTokenizer:
    def __init__(self, path: Path) -> None:
        pairs = Metadata(path).pairs

        def value(key: str, default: Any = None) -> Any:
            return pairs.get(f"tokenizer.ggml.{key}", default)

        self.ids: dict[str, int] = {text: token for token, text in enumerate(value("tokens"))}
        self.types: tuple[int, ...] = value("token_type")
        self.scores: tuple[float, ...] = value("scores", ())
        self.is_spm = value("model") == "llama"
        self.space_prefix = value("add_space_prefix", self.is_spm)
        self.whole_pieces = value("pre") == "llama-bpe"
        self.ranks: dict[tuple[str, ...], int] = {}
        for rank, merge in enumerate(value("merges", [])):
            self.ranks.setdefault(tuple(merge.split(" ")), rank)
        if not self.is_spm:
            regex = pytest.importorskip("regex", reason="the published patterns need the `regex` package")
            self.patterns = [regex.compile(pattern, regex.V1) for pattern in PATTERNS[value("pre")]]
        self.byte_map = byte_map()
        self.special_texts = [
            text for text, token in self.ids.items() if self.types[token] in (UNKNOWN, CONTROL, USER_DEFINED)
        ]
        self.special_texts.sort(key=lambda text: -len(text.encode()))

    def tokenize(self, text: str, parse_special: bool) -> list[int]:
        tokens: list[int] = []
        after_special = True
        for part in self.cut_specials(text, parse_special):
            if isinstance(part, int):
                tokens.append(part)
            elif self.is_spm:
                tokens += self.spm(" " * (self.space_prefix and after_special) + part)
            else:
                tokens += self.bpe(part)
            after_special = isinstance(part, int)
        return tokens

    def cut_specials(self, text: str, parse_special: bool) -> list[int | str]:
        """Each special text, longest first, looked for in what the longer ones have left."""
        parts: list[int | str] = [text] if text else []
        for special in self.special_texts:
            token = self.ids[special]
            if special in text and (parse_special or self.types[token] == USER_DEFINED):
                parts = [piece for part in parts for piece in self.cut_one(part, special, token)]
        return parts

    @staticmethod
    def cut_one(part: int | str, special: str, token: int) -> Iterator[int | str]:
        if isinstance(part, int):
            yield part
            return
        for number, text in enumerate(part.split(special)):
            if number:
                yield token
            if text:
                yield text

    def spm(self, text: str) -> list[int]:
        def score(left: str, right: str) -> float | None:
            token = self.mergeable(left + right)
            return None if token is None else -self.scores[token]

        symbols = merge(list(text.replace(" ", "\u2581")), score)
        tokens: list[int] = []
        for symbol in symbols:
            token = self.mergeable(symbol)
            tokens += [token] if token is not None else [self.ids[f"<0x{byte:02X}>"] for byte in symbol.encode()]
        return tokens

    def mergeable(self, text: str) -> int | None:
        token = self.ids.get(text)
        return token if token is not None and self.types[token] in (NORMAL, USER_DEFINED, UNUSED) else None

    def bpe(self, text: str) -> list[int]:
        pieces = [text]
        for pattern in self.patterns:
            pieces = [part for piece in pieces for part in matches_and_gaps(pattern, piece)]
        tokens: list[int] = []
        for piece in pieces:
            mapped = "".join(self.byte_map[byte] for byte in piece.encode())
            if self.whole_pieces and mapped in self.ids:
                tokens.append(self.ids[mapped])
            else:
                symbols = merge(list(mapped), lambda left, right: self.ranks.get((left, right)))
                tokens += [self.ids[symbol] for symbol in symbols if symbol in self.ids]
        return tokens


def matches_and_gaps(pattern: Any, text: str) -> Iterator[str]:
    at = 0
    for match in pattern.finditer(text):
        if match.start() > at:
            yield text[at : match.start()]
        yield match.group()
        at = match.end()
    if at < len(text):
        yield text[at:]


def merge(symbols: list[str], rank: Callable[[str, str], float | None]) -> list[str]:
    """Merges the neighbours of lowest rank (None: never), leftmost first, until none is left."""
    while True:
        ranked = ((rank(symbols[i], symbols[i + 1]), i) for i in range(len(symbols) - 1))
        best = min(((r, i) for r, i in ranked if r is not None), default=None)
        if best is None:
            return symbols
        i = best[1]
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]

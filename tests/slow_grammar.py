"""Grammars as trees of tuples, a matcher that is slow and obvious, and random ones written as GBNF.

Nodes: ("text", str), ("class", negated, [(first, last), ...]), ("ref", name), ("seq", nodes), ("alt", nodes),
("rep", node, least, most or None).  A grammar is a dict of rules; "root" is the one to begin with.
"""

from __future__ import annotations

import random
from typing import Any

Node = tuple[Any, ...]
Rules = dict[str, Node]

LETTERS = 'abcé日\U0001f600\n"]-'


def unfinished(raw: bytes) -> tuple[str, bytes] | None:
    """Whole characters, and the bytes of one more that is not whole; None when that is not UTF-8."""
    for cut in range(min(4, len(raw) + 1)):
        head, tail = raw[: len(raw) - cut], raw[len(raw) - cut :]
        try:
            text = head.decode()
        except UnicodeDecodeError:
            continue
        return (text, tail) if not tail or characters_that_begin(tail) else None
    return None


def characters_that_begin(tail: bytes) -> tuple[int, int] | None:
    """First and last code point whose UTF-8 begins with these bytes and goes on."""
    lead = tail[0]
    length = 2 if 0xC2 <= lead <= 0xDF else 3 if 0xE0 <= lead <= 0xEF else 4 if 0xF0 <= lead <= 0xF4 else 0
    if length <= len(tail):
        return None
    found = []
    for filler, seconds in ((0x80, range(0x80, 0xC0)), (0xBF, range(0xBF, 0x7F, -1))):
        for second in seconds:
            raw = tail + (bytes([second]) if len(tail) == 1 else b"")
            raw += bytes([filler]) * (length - len(raw))
            try:
                found.append(ord(raw.decode()))
                break
            except UnicodeDecodeError:
                continue
    return (found[0], found[1]) if len(found) == 2 else None


class Matcher:
    """What a grammar says of one text: `complete`, and `viable`, which is whether any more text could follow."""

    def __init__(self, rules: Rules, raw: bytes) -> None:
        self.rules, self.viable, self.complete = rules, False, False
        self.memo: dict[tuple[int, int], frozenset[int]] = {}
        split = unfinished(raw)
        if split is not None:
            self.text, self.tail = split
            ends = self.ends(rules["root"], 0)
            self.complete = not self.tail and len(self.text) in ends

    @property
    def accepted(self) -> bool:
        return self.viable or self.complete

    def ends(self, node: Node, at: int) -> frozenset[int]:
        """Where the node can end that begins at this character."""
        key = (id(node), at)
        if key not in self.memo:
            self.memo[key] = frozenset(getattr(self, "_" + node[0])(at, *node[1:]))
        return self.memo[key]

    def _one(self, at: int, negated: bool, ranges: list[tuple[int, int]]) -> set[int]:
        def has(point: int) -> bool:
            return point != 0 and negated != any(low <= point <= high for low, high in ranges)

        if at < len(self.text):
            return {at + 1} if has(ord(self.text[at])) else set()
        if not self.tail:
            self.viable = True
        else:
            low, high = characters_that_begin(self.tail) or (1, 0)
            edges = {low, high, *(p + d for pair in ranges for p in pair for d in (-1, 0, 1))}
            self.viable |= any(has(p) for p in edges if low <= p <= high and not 0xD800 <= p <= 0xDFFF)
        return set()

    def _class(self, at: int, negated: bool, ranges: list[tuple[int, int]]) -> set[int]:
        return self._one(at, negated, ranges)

    def _text(self, at: int, text: str) -> set[int]:
        places = {at}
        for char in text:
            places = {end for place in places for end in self._one(place, False, [(ord(char), ord(char))])}
        return places

    def _ref(self, at: int, name: str) -> frozenset[int]:
        return self.ends(self.rules[name], at)

    def _seq(self, at: int, nodes: list[Node]) -> set[int]:
        places = {at}
        for node in nodes:
            places = {end for place in places for end in self.ends(node, place)}
        return places

    def _alt(self, at: int, nodes: list[Node]) -> set[int]:
        return {end for node in nodes for end in self.ends(node, at)}

    def _rep(self, at: int, node: Node, least: int, most: int | None) -> set[int]:
        places, found = {at}, set()
        for n in range(least + len(self.text) + 2):  # one round more than there is to read
            if n >= least:
                found |= places
            if n == most:
                break
            places = {end for place in places for end in self.ends(node, place)}
        return found


# ---- left recursion --------------------------------------------------------------------------------------------------


def is_left_recursive(rules: Rules) -> bool:
    empty: set[str] = set()
    while True:
        more = {name for name, body in rules.items() if _may_be_empty(body, empty)}
        if more == empty:
            break
        empty = more
    reach = {name: _begins_with(body, empty) for name, body in rules.items()}
    for _ in rules:
        reach = {name: names | {far for near in names for far in reach[near]} for name, names in reach.items()}
    return any(name in names for name, names in reach.items())


def _may_be_empty(node: Node, empty: set[str]) -> bool:
    kind = node[0]
    if kind == "text":
        return not node[1]
    if kind == "ref":
        return node[1] in empty
    if kind == "rep":
        return node[2] == 0 or _may_be_empty(node[1], empty)
    if kind == "class":
        return False
    return (all if kind == "seq" else any)(_may_be_empty(child, empty) for child in node[1])


def _begins_with(node: Node, empty: set[str]) -> set[str]:
    kind = node[0]
    if kind == "ref":
        return {node[1]}
    if kind == "rep":
        return _begins_with(node[1], empty) if node[3] != 0 else set()
    found: set[str] = set()
    for child in node[1] if kind in ("seq", "alt") else []:
        found |= _begins_with(child, empty)
        if kind == "seq" and not _may_be_empty(child, empty):
            break
    return found


# ---- random grammars and texts ---------------------------------------------------------------------------------------


class Writer:
    """Draws grammars, writes them, draws texts that fit or nearly fit."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def rules(self) -> Rules:
        self.names = ["root", *(f"r_{i}" for i in range(self.rng.randrange(4)))]
        return {name: self.node(3) for name in self.names}

    def node(self, depth: int) -> Node:
        kinds = ["text", "text", "class", "ref"] + ["seq", "seq", "seq", "alt", "alt", "rep"] * (depth > 0)
        kind = self.rng.choice(kinds)
        if kind == "text":
            return ("text", "".join(self.rng.choices(LETTERS, k=self.rng.choice([0, 1, 1, 1, 2, 3]))))
        if kind == "class":
            return ("class", self.rng.random() < 0.3, [self.range() for _ in range(self.rng.choice([1, 1, 2, 3]))])
        if kind == "ref":
            return ("ref", self.rng.choice(self.names[self.rng.random() < 0.8 :] or self.names))
        if kind == "rep" and self.rng.random() < 0.2:
            least = self.rng.choice([0, 30, 60])  # bounds that one token can and cannot reach
            most = self.rng.choice([None, least or 40, 100])
            return ("rep", ("class", False, [(97, 99), (233, 50_000)]), least, most)
        if kind == "rep":
            least = self.rng.choice([0, 0, 0, 1, 1, 2, 3])
            most = self.rng.choice([None, least, least + 1, least + 3])
            return ("rep", self.node(depth - 1), least, most)
        return (kind, [self.node(depth - 1) for _ in range(self.rng.choice([1, 2, 2, 3]))])

    def range(self) -> tuple[int, int]:
        low = ord(self.rng.choice(LETTERS))
        width = self.rng.choice([0, 0, 1, 2, 70, 5000])
        return low, min(low + width, 0xD7FF if low < 0xD800 else 0x10FFFF)

    def gbnf(self, rules: Rules) -> str:
        lines = [f"{name} ::={self.blank()}{self.written(body, False)}" for name, body in rules.items()]
        self.rng.shuffle(lines)
        return "".join(line + self.rng.choice(["\n", " \n", "\r\n", " # more\n\n"]) for line in lines)

    def blank(self, nested: bool = False) -> str:
        return self.rng.choice([" ", " ", "  ", "\t"] + ["\n ", ' # say "]\n'] * nested)

    def written(self, node: Node, nested: bool) -> str:
        kind = node[0]
        if kind == "text":
            return '"' + "".join(self.char(ord(c), '"\\\n') for c in node[1]) + '"'
        if kind == "class":
            return "[" + "^" * node[1] + "".join(self.written_range(*pair) for pair in node[2]) + "]"
        if kind == "ref":
            return str(node[1])
        if kind == "rep":
            return self.item(node[1], nested) + self.mark(node[2], node[3])
        between = self.blank(nested) if kind == "seq" else f"{self.blank(nested)}|{self.blank(nested)}"
        return between.join(self.item(child, nested) for child in node[1])

    def item(self, node: Node, nested: bool) -> str:
        if node[0] in ("seq", "alt", "rep") or self.rng.random() < 0.1:
            return "(" + self.written(node, True) + self.rng.choice(["", "\n"]) + ")"
        return self.written(node, nested)

    def mark(self, least: int, most: int | None) -> str:
        short = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((least, most))
        if short and self.rng.random() < 0.7:
            return short
        if least == most:
            return f"{{{least}}}"
        return f"{{{least},{'' if most is None else most}}}" if least or most is None else f"{{,{most}}}"

    def written_range(self, low: int, high: int) -> str:
        escaped = "\\]^-["
        return self.char(low, escaped) + ("-" + self.char(high, escaped) if high > low else "")

    def char(self, point: int, escaped: str) -> str:
        forms = [f"\\U{point:08X}"]
        forms += [f"\\x{point:02x}"] * (point < 256) + [f"\\u{point:04X}"] * (point < 65536)
        if chr(point) not in escaped and not 0xD800 <= point <= 0xDFFF:
            return self.rng.choice([chr(point)] * 6 + forms)
        return self.rng.choice(forms)

    def text(self, rules: Rules) -> bytes:
        """A text that fits, or was meant to, often spoilt a little."""
        text = self._drawn(rules, rules["root"], 6)[:14]
        for _ in range(self.rng.choice([0, 0, 0, 1, 1, 2])):
            at = self.rng.randrange(len(text) + 1)
            text = text[:at] + self.rng.choice(["", self.rng.choice(LETTERS)]) + text[at + self.rng.randrange(2) :]
        raw = text.encode()
        return raw[: len(raw) - self.rng.choice([0, 0, 0, 1, 2])] if len(raw) > 2 else raw

    def _drawn(self, rules: Rules, node: Node, depth: int) -> str:
        kind = node[0]
        if kind == "text":
            return str(node[1])
        if kind == "class":
            return self._in_class(*node[1:])
        if depth == 0:
            return ""
        if kind == "ref":
            return self._drawn(rules, rules[node[1]], depth - 1)
        if kind == "rep":
            most = node[2] + 2 if node[3] is None else node[3]
            return "".join(self._drawn(rules, node[1], depth - 1) for _ in range(self.rng.randint(node[2], most)))
        if kind == "alt":
            return self._drawn(rules, self.rng.choice(node[1]), depth - 1)
        return "".join(self._drawn(rules, child, depth - 1) for child in node[1])

    def _in_class(self, negated: bool, ranges: list[tuple[int, int]]) -> str:
        if not negated:
            return chr(self.rng.randint(*self.rng.choice(ranges)))
        return self.rng.choice(LETTERS + "xyzö本")

"""JSON schemas and Lark grammars, compiled by llguidance, as constraints.

What it leaves out of JSON Schema it refuses; we say where in the schema that is.  Its limits bound the time that a
grammar takes to compile, and that a mask takes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import msgspec
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper

from llamatw.engine.constraint import Constraint, Wish
from llamatw.engine.formats import settle
from llamatw.errors import BadRequest

# Objects and lists are written in one line with a space behind each comma and colon: nothing to decide, so those
# characters are forced.  A schema's own x-guidance can say otherwise.
_JSON: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_STRICT: Any = {"lenient": False}
# A lexer state has one to two KiB.  The items of a row are as many as members that may come next, and twice that.
_LIMITS = LLParserLimits(max_lexer_states=25_000, max_items_in_row=10_000, verbose_errors=False)
_NO_ROOM = "too many states"  # for those
_QUICK_S = 0.05  # of processor time: what compiles so fast may do so between two steps
# What it complains of: in its words; the keyword, "" for the one that it names; in ours.
_COMPLAINTS = [
    (re.compile(r'Unimplemented keys: \["([^"]*)"'), "", "the keyword {0!r} at {1!r} is not supported"),
    (re.compile(r"Unknown format: (\S+)"), "format", "the format {0!r} at {1!r} is not supported"),
    (re.compile(r"Invalid type: (.+)"), "type", "the type {0!r} at {1!r} does not exist"),
    (re.compile(r"Pointer '([^']*)' does not exist"), "$ref", "{1!r} refers to {0!r}, which does not exist"),
    (re.compile(r"Resource '([^']*)' is not present"), "$ref", "{1!r} refers to {0!r}, which is not in the schema"),
    (re.compile(r"(oneOf) constraints"), "", "the alternatives of {0!r} at {1!r} may hold together; anyOf would do"),
]
_UNKNOWN_TOKEN = re.compile(r'unknown special token: "([^"]*)"')
_SPECIAL = b"\xff"  # in front of the names of tokens that no text has
_MAX_EXACT = 2**53
_MAX_REASON = 300  # characters

T = TypeVar("T")


class _Words:
    """The vocabulary as llguidance asks for it."""

    def __init__(
        self,
        pieces: list[bytes],
        name_of: Callable[[int], bytes],
        ends: list[int],
        tokenize: Callable[[bytes], list[int]],
    ) -> None:
        self.special_token_ids = [token for token, piece in enumerate(pieces) if not piece]
        self.tokens = [piece or _SPECIAL + name_of(token) for token, piece in enumerate(pieces)]
        for end in ends:  # no grammar can name it
            self.tokens[end] = _SPECIAL + b"end %d" % end
        self.eos_token_id = ends[0]
        self.bos_token_id = None
        self._tokenize = tokenize

    def __call__(self, text: bytes) -> list[int]:
        return self._tokenize(text)


def tokenizer(
    pieces: list[bytes], name_of: Callable[[int], bytes], ends: list[int], tokenize: Callable[[bytes], list[int]]
) -> LLTokenizer:
    """pieces: the text of every token, empty for those that show none.  ends: ids that end generation."""
    words = _Words(pieces, name_of, ends, tokenize)
    return LLTokenizer(TokenizerWrapper(words), n_vocab=len(pieces), eos_token=ends)


class Matchers:
    """What a grammar was compiled to.  Its places share the lexer's states, which are found as they are needed; a place
    that finds no room for more goes on with a matcher that has none yet, and so do those that begin after it.  So
    nobody's answer depends on what others have said."""

    def __init__(self, words: LLTokenizer, source: str, wish: Wish) -> None:
        self.is_worn = False  # it has to be compiled anew, which the engine's thread has no time for
        self.field = wish.field
        self.n_bytes = (words.vocab_size + 31) // 32 * 4  # of a mask
        self.ends: list[int] = words.eos_tokens
        self._words, self._source = words, source
        started = time.thread_time()
        self._newest = self._compile()
        if self._newest.is_error():
            raise _failure(self._newest, wish.field, wish)
        self._is_quick = time.thread_time() - started < _QUICK_S
        self.goes_back = wish.kind != "lark" or _goes_back(self._newest.deep_copy())

    def begin(self) -> GuidancePlace:
        return GuidancePlace(self, self._newest.deep_copy())

    def fresh(self) -> LLMatcher | None:
        """None: that takes too long."""
        if not self._is_quick:
            self.is_worn = True
            return None
        self._newest = self._compile()
        return self._newest.deep_copy()

    def _compile(self) -> LLMatcher:
        matcher = LLMatcher(self._words, self._source, log_level=0, limits=_LIMITS)
        matcher.compute_bitmask()  # the first is the slowest
        return matcher


class GuidancePlace:
    def __init__(self, matchers: Matchers, matcher: LLMatcher) -> None:
        self._matchers, self._matcher = matchers, matcher
        self._taken: list[int] = []

    def mask(self) -> bytes:
        bits = self._ask(self._bits)
        if bits == bytes(len(bits)):
            field = self._matchers.field
            raise BadRequest(f"{field}: here only what ends generation could follow, and the text must go on", field)
        return bits

    def advance(self, token: int) -> bool:
        is_taken = self._ask(lambda matcher: matcher.consume_token(token))
        self._taken.append(token)
        return is_taken

    def forced(self) -> bytes:
        return self._ask(lambda matcher: matcher.compute_ff_bytes()) if self._matchers.goes_back else b""

    def after(self, tokens: Iterable[int]) -> list[bytes]:
        def ask(matcher: LLMatcher) -> list[bytes]:
            masks: list[bytes] = []
            for token in tokens:
                if not matcher.try_consume_tokens([token]):
                    break
                masks.append(self._bits(matcher))
            matcher.rollback(len(masks))
            return masks

        return self._ask(ask)

    def _bits(self, matcher: LLMatcher) -> bytes:
        """What ends generation may come where the text may end, also where Lark's numbers of tokens include it."""
        bits = matcher.compute_bitmask()[: self._matchers.n_bytes]  # the matcher's are a bit longer
        ends = [end for end in self._matchers.ends if bits[end // 8] >> end % 8 & 1]
        if not ends or matcher.is_error() or matcher.is_accepting():
            return bits
        others = bytearray(bits)
        for end in ends:
            others[end // 8] &= ~(1 << end % 8)
        return bytes(others)

    def _ask(self, question: Callable[[LLMatcher], T]) -> T:
        answer = question(self._matcher)
        if self._matcher.is_error() and _NO_ROOM in self._matcher.get_error():
            fresh = self._matchers.fresh()
            if fresh is not None and all(map(fresh.consume_token, self._taken)):
                self._matcher = fresh
                answer = question(fresh)
        if self._matcher.is_error():
            raise _failure(self._matcher, self._matchers.field)
        return answer


def _goes_back(matcher: LLMatcher) -> bool:
    """Whether it can look behind guesses: not with Lark's max_tokens and stop."""
    bits = matcher.compute_bitmask()
    first = next((8 * at + bit for at, byte in enumerate(bits) for bit in range(8) if byte >> bit & 1), 0)
    return bool(matcher.consume_token(first) and matcher.rollback(1))


def compile_guidance(
    words: LLTokenizer, wish: Wish, tokenize: Callable[[bytes], list[int]], verdict: Callable[[str], str]
) -> Constraint:
    """verdict: of a trial.  BadRequest says what is wrong with the grammar or schema, and where."""
    source = _source(wish)
    reason = verdict(source)
    if reason:
        raise _refusal(reason, wish.field, wish)
    matchers = Matchers(words, source, wish)
    return Constraint(wish, matchers.begin, tokenize, lambda: matchers.is_worn)


def _source(wish: Wish) -> str:
    if wish.kind == "lark":
        return LLMatcher.grammar_from_lark(wish.text)
    source = _of_schema(wish.text, wish.field)  # which refuses what cannot be decoded
    schema = msgspec.json.decode(wish.text)
    _check_numbers(schema, wish.field)
    settled = settle(schema)
    return source if settled == schema else _of_schema(msgspec.json.encode(settled).decode(), wish.field)


def _of_schema(text: str, field: str) -> str:
    try:
        return LLMatcher.grammar_from_json_schema(text, defaults=_JSON, overrides=_STRICT)
    except ValueError as error:
        raise _refusal(str(error), field) from None


def _failure(matcher: LLMatcher, field: str, wish: Wish | None = None) -> BadRequest:
    return _refusal(matcher.get_error(), field, wish)


def _refusal(reason: str, field: str, wish: Wish | None = None) -> BadRequest:
    if reason.startswith("NoExtension"):
        reason = "nothing fits it"
    if unknown := _UNKNOWN_TOKEN.search(reason):
        reason = (
            f"{unknown[1]} is no control token, or one that ends generation, which comes where the text is complete"
        )
    if wish is not None and wish.kind == "json_schema":
        reason = _located(reason, msgspec.json.decode(wish.text))
    reason = reason.replace("<non-verbose/>", "").strip()
    return BadRequest(f"{field}: {reason[:_MAX_REASON]}", field)


def _located(reason: str, schema: object) -> str:
    """The same complaint, with a JSON pointer to what it is about."""
    for complaint, keyword, words in _COMPLAINTS:
        found = complaint.search(reason)
        if found:
            members = _members(schema, keyword or found[1])
            where = next((at for at, value in members if not keyword or found[1] in str(value)), "")
            return words.format(found[1], where)
    return reason


def _check_numbers(node: object, field: str, path: str = "") -> None:
    """llguidance computes with floats."""
    if isinstance(node, int) and abs(node) > _MAX_EXACT:
        raise BadRequest(f"{field}: the number at {path!r} is beyond 2**53", field)
    for where, value in _items(node, path):
        _check_numbers(value, field, where)


def _items(node: object, path: str) -> Iterator[tuple[str, object]]:
    """What an object or list holds, with JSON pointers."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}", value


def _members(node: object, keyword: str, path: str = "") -> Iterator[tuple[str, object]]:
    """The objects' members of that name, with JSON pointers."""
    for where, value in _items(node, path):
        if isinstance(node, dict) and where == f"{path}/{keyword}":
            yield where, value
        yield from _members(value, keyword, where)

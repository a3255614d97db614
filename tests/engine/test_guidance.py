"""States that sequences share: nobody's answer may depend on what others have used up."""

from __future__ import annotations

import json
import random

import pytest
from llguidance import LLMatcher, LLParserLimits

from llamatw.capi.fake import FakeEngine
from llamatw.engine import guidance
from llamatw.engine.compiler import Compiler
from llamatw.engine.constraint import Wish
from llamatw.errors import BadRequest

N_STATES = 300
# Which of its nine last characters were a or b has to be remembered: 512 ways, each with its states.
WISH = Wish("json_schema", json.dumps({"type": "string", "pattern": "^[abc]*[ab][abc]{8}!$"}), "json_schema")


@pytest.fixture
def compiler(monkeypatch):
    monkeypatch.setattr(guidance, "_LIMITS", LLParserLimits(max_lexer_states=N_STATES, verbose_errors=False))
    engine = FakeEngine()
    return Compiler(engine.vocab, engine.open_grammar)


def text(seed, n=60):
    return '"' + "".join(random.Random(seed).choices("abc", k=n))


def masks(place, said):
    """Also what may follow the next token, as guesses need it."""
    found = []
    for char, ahead in zip(said, said[1:] + "a", strict=True):
        found += [place.mask(), *place.after([ord(char), ord(ahead)]), place.forced()]
        assert place.advance(ord(char))
    return found


def test_a_sequence_goes_on_where_others_have_used_up_the_states(compiler):
    begin = compiler.compile(WISH).begin
    alone = [masks(compiler._compile(WISH).begin(), text(seed)) for seed in range(40)]
    first = begin()
    first.advance(ord('"'))
    assert [masks(begin(), text(seed)) for seed in range(40)] == alone
    assert masks(first, text(1)[1:])  # it began with states that are no more the newest


def test_a_sequence_that_needs_too_many_alone_ends(compiler):
    place = compiler.compile(Wish("json_schema", '{"type": "string", "maxLength": 9000}', "json_schema")).begin()
    with pytest.raises(BadRequest, match="too many states"):
        masks(place, '"' + "a" * 9000)


def test_what_takes_long_to_compile_is_compiled_anew_for_the_next_request(compiler, monkeypatch):
    monkeypatch.setattr(guidance, "_QUICK_S", 0.0)
    worn = compiler.compile(WISH)
    with pytest.raises(BadRequest, match="too many states"):
        for seed in range(40):
            masks(worn.begin(), text(seed))
    assert compiler.kept(WISH) is None
    renewed = compiler.compile(WISH)
    assert masks(renewed.begin(), text(1))
    assert compiler.kept(WISH) is renewed


@pytest.mark.parametrize("name", ["<|im_end|>", '("b" | <|im_end|>)'])
def test_what_ends_generation_cannot_be_named(words, name):
    with pytest.raises(BadRequest, match=r"<\|im_end\|> is no control token, or one that ends generation"):
        lark(words, f'start: "a" {name} "b"')


@pytest.mark.parametrize(
    ("numbers", "follow"), [("<[^5]>", {7, 256, 97}), ("<[255-258]>", {255, 256}), ("<[*]>", {0, 256})]
)
def test_numbers_of_tokens_include_what_ends_generation_only_where_the_text_may_end(words, numbers, follow):
    place = lark(words, f'start: "a" {numbers} "b"').begin()
    assert place.advance(ord("a"))
    assert follow <= allowed(place) <= set(range(257))
    assert allowed(place) == {token for token in range(259) if place.after([token])} - {257, 258}
    assert place.advance(256)
    assert place.advance(ord("b"))
    assert allowed(place) == {257, 258}


def test_where_nothing_but_an_end_could_follow_the_sequence_fails(words):
    place = lark(words, 'start: "a" <[257]> "b"').begin()
    assert place.advance(ord("a"))
    with pytest.raises(BadRequest, match="only what ends generation could follow"):
        place.mask()


@pytest.mark.parametrize("ends", ["max_tokens=2", 'stop="x"'])
def test_a_grammar_that_cannot_look_back_makes_no_guesses(words, ends):
    """Else how it goes on would depend on whether a step had room for guesses."""
    place = lark(words, f'start: "abc" a "!!!"\na[{ends}]: /[d-z]*/').begin()
    for token in b"abcde!!!" if "max" in ends else b"abcdex!!!":
        assert place.forced() == b""
        assert token in allowed(place)
        assert place.advance(token)
    assert allowed(place) == {257, 258}
    assert lark(words, 'start: "abc"').begin().forced() == b"abc"


@pytest.fixture(scope="module")
def words():
    """Bytes, a control token, and two that end generation."""
    names = {256: b"<|x|>", 257: b"<|im_end|>", 258: b"<|end|>"}
    pieces = [*(bytes([byte]) for byte in range(256)), b"", b"", b""]
    return guidance.tokenizer(pieces, lambda token: names.get(token, b""), [257, 258], list)


def lark(words, text):
    return guidance.Matchers(words, LLMatcher.grammar_from_lark(text), Wish("lark", text, "grammar"))


def allowed(place):
    mask = place.mask()
    return {token for token in range(259) if mask[token // 8] >> token % 8 & 1}

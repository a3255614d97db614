"""Constraints that begin late: behind a trigger or a thought, also in the middle of a token."""

from __future__ import annotations

import json

import pytest

from llamatw.capi.fake import EOS, IM_END, FakeEngine
from llamatw.engine import late
from llamatw.engine.compiler import Compiler
from llamatw.engine.constraint import Guard, Pattern, Wish
from llamatw.engine.lexicon import Lexicon
from llamatw.engine.sequence import FinishReason
from llamatw.errors import BadRequest, NotSupported
from llamatw.text.thoughts import Tags
from tests.engine.bench import Bench

GRAMMAR = 'root ::= "<call>0</call>" | "<call>1</call>"'
SCHEMA = json.dumps({"enum": ["yes", "no"]})
ANSWERS = ('"yes"', '"no"')


@pytest.fixture(scope="module")
def compile():
    engine = FakeEngine()
    return Compiler(engine.vocab, engine.open_grammar).compile


def lazy(*patterns, text=GRAMMAR, **more):
    return Wish("gbnf", text, "grammar", patterns=patterns, **more)


def thinking(opening="", kind="json_schema", text=SCHEMA):
    return Wish(kind, text, "json_schema", thought=Tags(opening, "</think>"))


def allowed(place):
    mask = place.mask()
    return {token for token in range(260) if mask[token // 8] >> token % 8 & 1}


def say(place, text):
    for token in text.encode():
        assert token in allowed(place), text
        assert place.advance(token)
    return place


EVERYTHING, DIGITS = set(range(260)), {48, 49}


@pytest.mark.parametrize(
    ("pattern", "said", "rest"),
    [
        (Pattern("<call>"), "well <call>", "01"),
        (Pattern("l+ (<call>)"), "well <call>", "01"),
        (Pattern("()(well)?( )(<call>)"), "x <call>", "01"),  # the group of the space is the first that is not empty
        (Pattern("<call"), "<call", ">"),
        (Pattern("[\\s\\S]*?(<call>)[\\s\\S]*", is_full=True), "a\nb <call>", "01"),
        (Pattern("é(<call>)"), "é<call>", "01"),
        (Pattern("<(?i:CALL)>"), "<call>", "01"),
    ],
)
def test_everything_may_be_said_until_a_pattern_is_found(compile, pattern, said, rest):
    grammar = GRAMMAR if "( )" not in pattern.text else GRAMMAR.replace('"<call', '" <call')
    place = compile(lazy(pattern, text=grammar)).begin()
    for token in said.encode():
        assert allowed(place) == EVERYTHING
        assert place.forced() == b""
        assert place.advance(token)
    assert allowed(place) == {ord(char) for char in rest}


def test_a_pattern_of_the_whole_fits_from_the_first_character_to_the_last(compile):
    place = compile(lazy(Pattern("a(<call>)", is_full=True))).begin()
    assert allowed(say(place, "xa<call>")) == EVERYTHING
    place = compile(lazy(Pattern("a|b(<call>)", is_full=True))).begin()
    assert allowed(say(place, "b<call>")) == DIGITS


def test_words_and_tokens_beside_patterns(compile):
    wish = lazy(Pattern("never"), words=("<call>",), tokens=(IM_END,))
    assert allowed(say(compile(wish).begin(), "(<call>")) == DIGITS
    text = 'root ::= "<|im_end|>x" | "y"'
    place = say(compile(lazy(Pattern("never"), text=text, tokens=(IM_END,))).begin(), "neve")
    assert place.advance(IM_END)  # the grammar knows its name, as text
    assert allowed(place) == {ord("x")}


def test_what_stands_behind_the_trigger_in_its_token_must_fit():
    class Pieces(FakeEngine().vocab.__class__):
        def pieces(self):
            return [b"a<call>1", b"a<call>x", *(bytes([one]) for one in range(2, 256))]

        def tokenize(self, text, **more):
            return list(text if isinstance(text, bytes) else text.encode())

    words, engine = Lexicon(Pieces()), FakeEngine()
    begin = Compiler(engine.vocab, engine.open_grammar).compile(Wish("gbnf", GRAMMAR, "grammar")).begin
    find = late.first_trigger([Pattern("(<call>)")], ())
    place = late.LatePlace(begin, find, words)
    assert place.advance(0)
    assert place.forced() == b"</call>"
    assert not late.LatePlace(begin, find, words).advance(1)


def test_patterns_are_looked_for_in_so_much_and_no_more(compile, monkeypatch):
    monkeypatch.setattr(late, "_MAX_SAID_BYTES", 10)
    place = say(compile(lazy(Pattern("<call>|<another>"))).begin(), "x" * 10)  # compiled nowhere else
    with pytest.raises(BadRequest, match="none of them came within 10 bytes"):
        place.advance(120)


def test_costly_patterns_are_looked_for_in_less():
    find = late.first_trigger([Pattern(r"(?s)((((.{0,9})*x?){1,99}.*))", is_full=True)], ())
    with pytest.raises(BadRequest, match=r"none of them came within \d{4} bytes"):
        find(b"a" * 10_000, 9_999, 0)


def test_looking_costs_its_sequence(compile):
    now = [0.0]
    constraint = compile(lazy(Pattern("<call>")))
    guard = Guard(constraint, clock=lambda: now[0])
    advance = guard._place.advance
    guard._place.advance = lambda token: now.__setitem__(0, now[0] + 0.1) or advance(token)
    with pytest.raises(BadRequest, match="takes too long"):
        for _ in range(5):
            guard.row(0)
            guard.advance(120)


def test_without_the_library_patterns_are_not_supported(compile, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "re2", None)
    with pytest.raises(NotSupported, match="google-re2"):
        compile(lazy(Pattern("another")))


# ---- thoughts ----


def test_a_thought_that_is_open_ends_before_the_answer_may(compile):
    place = say(compile(thinking()).begin(), "hm </thin")
    assert allowed(place) == EVERYTHING - {EOS, IM_END}
    assert allowed(say(place, "k>")) == {ord('"')}
    assert say(place, '"yes"') and allowed(place) == {EOS, IM_END}


@pytest.mark.parametrize("kind", ["json_schema", "gbnf"])
def test_the_model_may_think_first(compile, kind):
    text = SCHEMA if kind == "json_schema" else 'root ::= "*yes" | "<3"'
    constraint = compile(thinking("<think>", kind, text))
    first = '"' if kind == "json_schema" else "*"
    assert allowed(constraint.begin()) == {ord("<"), ord(first)}
    place = say(constraint.begin(), "<th")
    assert allowed(place) == {ord("i")}
    assert allowed(say(place, "ink>")) == EVERYTHING - {EOS, IM_END}
    assert ord(first) in allowed(say(place, "a < b</think>"))
    assert allowed(say(constraint.begin(), first + "yes" + first.strip("*"))) == {EOS, IM_END}
    if kind == "gbnf":
        assert allowed(say(constraint.begin(), "<3")) == {EOS, IM_END}


@pytest.mark.parametrize("opening", ["", "<think>"])
def test_answers_fit_behind_thoughts_whatever_the_neighbours(compile, opening):
    said = f"{opening}I think</think>zzz"
    alone = Bench(say=said)
    alone.submit(0, "tell", constraint=compile(thinking(opening)))
    alone.run()
    assert alone.text(0).removeprefix(f"{opening}I think</think>") in ANSWERS
    assert alone.finish(0) is FinishReason.EOS
    crowd = Bench(n_ctx=512, say=said)
    for id in range(4):
        crowd.submit(id, "tell", constraint=compile(thinking(opening)))
    for _ in range(20):
        crowd.step()
        if len(crowd.scheduler.running) > 1:
            crowd.scheduler.starve()
    crowd.run()
    assert crowd.scheduler.counters.n_starved > 2
    assert all(crowd.text(id) == alone.text(0) for id in range(4))

"""Guard and Compiler by themselves: what a step gets, what costs too much, what is refused and where, what is kept."""

from __future__ import annotations

import json
import threading

import pytest

from llamatw.capi.fake import BOS, EOS, IM_END, N_VOCAB, FakeEngine
from llamatw.capi.records import Code
from llamatw.engine import compiler
from llamatw.engine.compiler import MAX_BYTES, Compiler
from llamatw.engine.constraint import Constraint, Guard, Wish
from llamatw.engine.gbnf import GbnfPlace
from llamatw.errors import BadRequest, EngineFailure
from tests.real_schemas import REFUSED

N_BYTES = (N_VOCAB + 31) // 32 * 4


class Scripted:
    """A place that forces a text; its masks are as long as a real one's and hold the count of tokens taken."""

    def __init__(self, text=b"abcdef", refuses=b"", costs=lambda: None):
        self.text, self.refuses, self.costs, self.n, self.n_masks = text, refuses, costs, 0, 0

    def mask(self):
        self.costs()
        self.n_masks += 1
        return bytes([self.n % 256]) * 4

    def advance(self, token):
        self.n += 1
        return token not in self.refuses

    def forced(self):
        return self.text[self.n :]

    def after(self, tokens):
        n = next((n for n, token in enumerate(tokens) if token in self.refuses), len(tokens))
        return [bytes([self.n + 1 + i]) * 4 for i in range(n)]


def guard(place, clock=lambda: 0.0):
    return Guard(Constraint(Wish("gbnf", "", "grammar"), lambda: place, list), clock=clock)


def test_a_row_has_a_mask_for_itself_and_one_behind_each_guess():
    masks, draft = guard(Scripted()).row(3)
    assert bytes(draft.tolist()) == b"abc"
    assert masks == b"\0\0\0\0\1\1\1\1\2\2\2\2\3\3\3\3"


def test_masks_are_made_once_until_a_token_comes_also_when_a_step_is_planned_again():
    place = Scripted()
    one = guard(place)
    assert one.row(2) == one.row(2)
    assert [len(one.row(n)[1]) for n in (0, 4, 1)] == [0, 4, 1]
    assert place.n_masks == 1
    one.advance(ord("a"))
    assert bytes(one.row(2)[1].tolist()) == b"bc"
    assert place.n_masks == 2


def test_guesses_end_before_a_token_that_the_grammar_refuses():
    one = guard(Scripted(refuses=b"c"))
    for n_draft in (5, 5, 1):
        masks, draft = one.row(n_draft)
        assert bytes(draft.tolist()) == b"ab"[:n_draft]
        assert len(masks) == 4 * (1 + len(draft))


def test_a_token_that_is_not_allowed_ends_it():
    with pytest.raises(BadRequest, match="does not allow token 120") as caught:
        guard(Scripted(refuses=b"x")).advance(ord("x"))
    assert caught.value.param == "grammar"


def test_what_has_been_said_is_taken_first():
    place = Scripted()
    Guard(Constraint(Wish("gbnf", "", "grammar"), lambda: place, list), taken=b"abc")
    assert place.n == 3


@pytest.mark.parametrize(("seconds", "n_steps"), [(0.0029, None), (0.02, 16), (0.2, 2), (1.0, 1)])
def test_masks_that_take_too_long_end_it(seconds, n_steps):
    now = [0.0]

    def costs():
        now[0] += seconds

    one = guard(Scripted(text=b"", costs=costs), clock=lambda: now[0])
    for step in range(1, 1000):
        try:
            one.row(0)
            one.advance(1)
        except BadRequest as error:
            assert "too long" in error.message
            assert step - 1 in (n_steps - 1, n_steps - 2), step
            return
    assert n_steps is None


class Exhausted:
    """A grammar and its state: what follows the next token can be read in too many ways."""

    begin = fork = lambda self: self
    close = copy_from = lambda self, *_: None

    def advance(self, token):
        raise EngineFailure("too many ways", Code.LIMIT)

    def mask(self):
        return b"\3\0\0\0", 2

    def forced(self, n_bytes):
        raise EngineFailure("too many ways", Code.LIMIT)


def test_limits_of_a_grammar_are_the_requests_mistake_and_guesses_do_not_reach_them():
    place = GbnfPlace(Exhausted(), "grammar")
    assert (place.forced(), place.after([1]), place.mask()) == (b"", [], b"\3\0\0\0")
    with pytest.raises(BadRequest, match="grammar: too many ways"):
        place.advance(1)


def test_slow_masks_come_without_guesses():
    now = [0.0]

    def costs():
        now[0] += 0.002

    assert len(guard(Scripted(costs=costs), clock=lambda: now[0]).row(4)[1]) == 0


# ---- the compiler, over a vocabulary of bytes ----


@pytest.fixture
def compile():
    engine = FakeEngine()
    return Compiler(engine.vocab, engine.open_grammar).compile


def schema(value, field="json_schema"):
    return Wish("json_schema", value if isinstance(value, str) else json.dumps(value), field)


def allowed(place):
    bits = int.from_bytes(place.mask(), "little")
    return {token for token in range(8 * N_BYTES) if bits >> token & 1}


def test_masks_of_a_schema(compile):
    place = compile(schema({"enum": ["ab", "ac", True]})).begin()
    assert len(place.mask()) == N_BYTES
    assert allowed(place) == set(b'"t')
    assert place.advance(ord('"'))
    assert place.forced() == b"a"
    assert [int.from_bytes(mask, "little") for mask in place.after(b"ax")] == [1 << ord("b") | 1 << ord("c")]
    for token in b'ab"':
        assert place.advance(token)
    assert allowed(place) == {EOS, IM_END}
    with pytest.raises(BadRequest):
        place.advance(ord("x"))


def test_control_tokens_are_never_allowed_within_text(compile):
    place = compile(schema({"type": "string"})).begin()
    assert place.advance(ord('"'))
    assert not {BOS, EOS, IM_END} & allowed(place)


def test_lark_and_its_mistakes(compile):
    place = compile(Wish("lark", '%llguidance {}\nstart: /[0-9]+/ "!"', "grammar")).begin()
    assert allowed(place) == set(b"0123456789")
    with pytest.raises(BadRequest, match=r"^grammar: .*unknown name"):
        compile(Wish("lark", "%llguidance {}\nstart: foo", "grammar"))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"properties": {"a/b": {"items": {"not": {}}}}}, r"'not' at '/properties/a~1b/items/not'"),
        (
            {"$defs": {"x": {"uniqueItems": True, "type": "array"}}, "$ref": "#/$defs/x"},
            r"'uniqueItems' at '/\$defs/x/",
        ),
        ({"x-guidance": {"lenient": True}, "type": "object", "propertyNames": {}}, "'propertyNames'"),
        ({"type": "strange"}, "'strange' at '/type' does not exist"),
        ({"$ref": "#/$defs/x"}, "does not exist"),
        ({"$ref": "http://127.0.0.1/x"}, "which is not in the schema"),
        ({"$ref": "#"}, "nothing fits it"),
        ({"allOf": [{"$ref": "#"}]}, "nothing fits it"),
        ({"enum": []}, "Unsatisfiable"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "Unsatisfiable"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
        ({"type": "string", "pattern": "(" * 50_000}, "regex parse error"),
        ({"type": "string", "format": "iri"}, "the format 'iri' at '/format' is not supported"),
        ({"items": {"type": "integer", "minimum": -(2**63)}}, r"at '/items/minimum' is beyond"),
        ({"type": "integer", "maximum": 2**53 + 1}, r"at '/maximum' is beyond"),
        ({"enum": [1, 2**60]}, r"at '/enum/1' is beyond"),
        ('{"maximum": 1e400}', "out of range"),
        ("[" * 20_000, "recursion"),
        ({"properties": {f"p{n}": {"type": "integer"} for n in range(8000)}}, "takes too long"),
        ({"allOf": [{"pattern": f"^.*a.{{{n}}}$"} for n in range(1, 30)]}, "takes too long"),
        ({"enum": [str(n) for n in range(100_000)]}, f"the limit is {MAX_BYTES['json_schema']}"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_schemas_that_are_refused(compile, value, reason):
    with pytest.raises(BadRequest, match=reason) as caught:
        compile(schema(value, "response_format"))
    assert caught.value.param == "response_format"
    assert caught.value.message.startswith("response_format")
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(("value", "words"), REFUSED, ids=lambda value: str(value)[:40])
def test_refusals_name_what_it_is_and_where(compile, value, words):
    with pytest.raises(BadRequest) as caught:
        compile(schema(value))
    assert words in caught.value.message


def test_grammars_that_are_too_long(compile):
    for kind in ("gbnf", "lark"):
        with pytest.raises(BadRequest, match="bytes, the limit is"):
            compile(Wish(kind, "%llguidance" + " " * MAX_BYTES[kind], "grammar"))


def test_what_was_compiled_is_kept_the_newest_longest(compile, monkeypatch):
    monkeypatch.setattr(compiler, "_MAX_KEPT", 2)
    wishes = [schema({"const": n}) for n in range(3)]
    first, second = compile(wishes[0]), compile(wishes[1])
    assert compile(wishes[0]) is first
    third = compile(wishes[2])
    assert [compile(wish) is was for wish, was in zip(wishes, (first, second, third), strict=True)] == [
        True,
        False,
        False,
    ]


def test_texts_that_are_kept_are_bounded(compile, monkeypatch):
    monkeypatch.setattr(compiler, "_MAX_KEPT_BYTES", 100)
    wish = schema({"const": "x" * 200})
    assert compile(wish) is not compile(wish)


def test_threads_compile_at_the_same_time(compile):
    done = []
    threads = [
        threading.Thread(target=lambda n=n: done.append(compile(schema({"const": n % 3})).begin().mask()))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 8


def test_places_of_one_constraint_are_apart(compile):
    for wish in (schema({"enum": ["ab", "cd"]}), Wish("gbnf", 'root ::= "ab" | "cd"', "grammar")):
        constraint = compile(wish)
        one, other = constraint.begin(), constraint.begin()
        before = allowed(other)
        assert one.advance(min(allowed(one)))
        assert allowed(other) == before != allowed(one)

"""/json-schema-to-grammar.mjs: what it makes in a browser, the engine's grammars and jsonschema must agree on."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import jsonschema
import pytest

from llamatw.capi.gguf import Gguf
from llamatw.capi.grammar import Grammar
from llamatw.capi.vocab import Vocab
from tests import grammar_vocab
from tests.schemas import DIGIT, HAND_MADE, POINT, SHORT, drawn, record

pytestmark = pytest.mark.usefixtures("engine_library")

CHECK = jsonschema.FormatChecker()
NOT_SUPPORTED = {"pattern in the middle": "#/maxLength", "time": "#/maxLength"}
N_DRAWN, N_TEXTS = 60, 6
MAX_BYTES = 600  # of a text made at random; one that gets longer ends by what is nearest to an end

MORE: dict[str, Any] = {
    "anything": True,
    "any object": {"type": "object"},
    "any array": {"type": "array", "maxItems": 3},
    "string": {"type": "string"},
    "several types": {"type": ["integer", "string", "array"], "minimum": 3, "maxLength": 2, "items": DIGIT},
    "open": {**record(size=DIGIT, side=SHORT, s=DIGIT), "additionalProperties": SHORT, "required": ["s"]},
    "open without names": {"type": "object", "additionalProperties": DIGIT, "maxProperties": 3},
    "at least one": {"type": "object", "additionalProperties": DIGIT, "minProperties": 1},
    "required only": {"type": "object", "required": ["a"], "additionalProperties": {"type": "boolean"}},
    "all may be left out": {"properties": {"a": DIGIT, "b": DIGIT, "c": DIGIT}, "type": "object"},
    "a tuple that goes on": {"type": "array", "prefixItems": [DIGIT, SHORT], "items": {"const": 0}, "maxItems": 4},
    "an old tuple": {"items": [DIGIT, SHORT], "additionalItems": False, "minItems": 1, "type": "array"},
    "oneOf beside others": {"type": "object", "properties": {"a": DIGIT}, "oneOf": [{"required": ["a"]}]},
    "tree": {"$defs": {"t": record(v=DIGIT, kids={"type": "array", "items": {"$ref": "#/$defs/t"}, "maxItems": 2})},
             "$ref": "#/$defs/t"},
    "itself": {"type": "object", "properties": {"child": {"$ref": "#"}}, "additionalProperties": False},
    "names of rules": record(root=DIGIT, space=SHORT, string=DIGIT, **{"string-kv": SHORT, "char": {"type": "string"}}),
    "a definition named like a rule": {"$defs": {"string": DIGIT}, **record(a={"$ref": "#/$defs/string"}, b=SHORT)},
    "objects at once": {"allOf": [{"$ref": "#/$defs/point"}, {"properties": {"z": DIGIT}, "required": ["x", "z"]}],
                        "$defs": {"point": {"type": "object", "properties": POINT["properties"]}}},
    "a reference beside others": {"$defs": {"n": {"type": "integer", "minimum": 3}}, "$ref": "#/$defs/n", "maximum": 5},
    "escapes in a pattern": {"type": "string", "pattern": '^["\\\\\\n]{2}\\u00e9[^a-z]$'},
    **{name: {"type": "string", "format": name} for name in "date-time ipv6 hostname email uri".split()},
    "any order of bounds": {"type": "number", "minimum": -1.25, "exclusiveMaximum": 2.5},
}  # fmt: skip


@pytest.fixture(scope="module")
def vocab(tmp_path_factory: pytest.TempPathFactory) -> Vocab:
    """Every byte has a token."""
    path = tmp_path_factory.mktemp("vocab") / "vocab.gguf"
    with Gguf.open(grammar_vocab.write(path, [])) as file:
        return Vocab.open(file)


@pytest.fixture(scope="module")
def convert(modules: Any) -> Callable[..., list[Any]]:
    """Schemas to grammars, or to {"error": message}."""

    def run(schemas: list[Any], order: dict[str, int] | None = None) -> list[Any]:
        found: list[Any] = modules.evaluate(
            """async ([schemas, order]) => {
                const { SchemaConverter } = await import("/json-schema-to-grammar.mjs");
                return schemas.map((schema) => {
                    try {
                        const converter = new SchemaConverter(order ?? {});
                        converter.visit(schema, "");
                        return converter.formatGrammar();
                    } catch (error) {
                        return { error: error.message };
                    }
                });
            }""",
            [schemas, order],
        )
        return found

    return run


class Matcher:
    def __init__(self, vocab: Vocab, text: str) -> None:
        self.grammar = Grammar.open(vocab, text)

    def fits(self, text: str) -> bool:
        with self.grammar.begin() as state:
            taken = all(state.advance(grammar_vocab.FIRST_BYTE + byte) for byte in text.encode())
            return taken and state.is_complete

    def write(self, draw: random.Random) -> str | None:
        """A text made at random.  None if it does not come to an end."""
        raw = bytearray()
        with self.grammar.begin() as state:
            while not (state.is_complete and (len(raw) > 40 or draw.random() < 0.2)):
                mask, _ = state.mask()
                bits = int.from_bytes(mask, "little") >> grammar_vocab.FIRST_BYTE
                allowed = [byte for byte in range(256) if bits >> byte & 1]
                if state.is_complete and not allowed:
                    break
                ending = [b for b in allowed if b in b'"}]'] if len(raw) > 40 else []
                byte = draw.choice(ending or [b for b in allowed if b < 128 or draw.random() < 0.1] or allowed)
                assert state.advance(grammar_vocab.FIRST_BYTE + byte)
                raw.append(byte)
                if len(raw) > MAX_BYTES:
                    return None
        return raw.decode()


def matchers(vocab: Vocab, grammars: list[Any]) -> Iterator[Matcher]:
    for grammar in grammars:
        assert isinstance(grammar, str), grammar
        yield Matcher(vocab, grammar)


def test_whatever_a_grammar_allows_fits_the_schema(vocab: Vocab, convert: Callable[..., list[Any]]) -> None:
    made = {name: schema for name, schema in HAND_MADE.items() if name not in NOT_SUPPORTED}
    schemas = [*made.values(), *MORE.values(), *map(drawn, range(N_DRAWN))]
    n_ended = 0
    for number, (schema, matcher) in enumerate(zip(schemas, matchers(vocab, convert(schemas)), strict=True)):
        for seed in range(N_TEXTS):
            text = matcher.write(random.Random(1000 * number + seed))
            if text is not None:
                n_ended += 1
                jsonschema.Draft202012Validator(_modern(schema), format_checker=CHECK).validate(json.loads(text))
    assert n_ended > 0.9 * N_TEXTS * len(schemas)


def _modern(schema: Any) -> Any:
    """items as an array is of older drafts."""
    if isinstance(schema, dict) and isinstance(schema.get("items"), list):
        return {**schema, "prefixItems": schema["items"], "items": schema.get("additionalItems", True)}
    return schema


def test_what_is_not_supported_is_named(convert: Callable[..., list[Any]]) -> None:
    wrong: dict[str, Any] = {
        "#/properties/a~1b/not": {"properties": {"a/b": {"not": {}}}},
        "#/items/if": {"items": {"if": {}}},
        "#/$defs/x/patternProperties": {"$ref": "#/$defs/x", "$defs": {"x": {"patternProperties": {}}}},
        "#/uniqueItems": {"type": "array", "uniqueItems": True},
        "#/anyOf/1": {"anyOf": [{"type": "null"}, False]},
        "#/pattern": {"pattern": "^(?=a)b$"},
        "#/properties/a/format": {"properties": {"a": {"format": "iri"}}},
        "#/$ref": {"$ref": "http://example.com/schema"},
        "#/properties/x/$ref": {"properties": {"x": {"$ref": "#/nowhere"}}},
        "#/allOf/0/additionalProperties": {"allOf": [{"allOf": [record(a=DIGIT), record(b=DIGIT)]}]},
        "#/minimum": {"type": "integer", "minimum": "3"},
        "#/maxLength": {"type": "string", "minLength": 4, "maxLength": 3},
        "#/required": {"type": "object", "required": ["a"], "additionalProperties": False},
        "#: no number": {"type": "integer", "minimum": 4, "maximum": 3},
        "#: Unrecognized schema": {"type": "text"},
        "#/items/$ref": {"items": {"$ref": "#/items"}},
    }
    for pointer, found in zip(wrong, convert(list(wrong.values())), strict=True):
        assert not isinstance(found, str), pointer
        assert found["error"].startswith(pointer), (pointer, found)
    hand_made = convert([HAND_MADE[name] for name in NOT_SUPPORTED])
    assert [found["error"].split(":")[0] for found in hand_made] == list(NOT_SUPPORTED.values())


def test_whole_numbers_within_bounds_and_no_others(vocab: Vocab, convert: Callable[..., list[Any]]) -> None:
    draw = random.Random(1)
    pairs = [sorted(draw.sample(range(-130, 1200), 2)) for _ in range(30)] + [[0, 0], [-1, 1], [99, 100], [-100, -9]]
    schemas: list[Any] = [{"type": "integer", "minimum": low, "maximum": high} for low, high in pairs]
    schemas += [{"type": "integer", key: 17} for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")]
    for schema, matcher in zip(schemas, matchers(vocab, convert(schemas)), strict=True):
        valid = jsonschema.Draft202012Validator(schema).is_valid
        wrong = [n for n in range(-140, 1210) if matcher.fits(str(n)) != valid(n)]
        assert wrong == [], schema
        assert not matcher.fits("007")


def test_decimals_within_bounds_and_no_others(vocab: Vocab, convert: Callable[..., list[Any]]) -> None:
    draw = random.Random(2)
    bounds = [0, 1, -1, 0.5, -0.5, 2.25, 2.2, -2.75, 2, 0.05, 1.95, -0.05, 12.3, -12.34]
    least, most = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")
    schemas = [
        {"type": "number", draw.choice(least): low, draw.choice(most): high}
        for low in bounds
        for high in bounds
        if low < high and draw.random() < 0.5
    ]
    schemas += [{"type": "number", key: value} for key in least + most for value in (0, -0.5, 1.5)]
    texts = {f"{sign}{n / Decimal(100)}" for n in range(1, 400) for sign in ("", "-")} | {"0", "0.0"}
    texts |= {text.rstrip("0").rstrip(".") if "." in text else text for text in texts}
    texts |= {
        "12.3",
        "12.30",
        "12.31",
        "-12.34",
        "-12.341",
        "-12.339",
        "2.2000",
        "2.2001",
        "0.0500001",
        "1.949999",
        "99",
    }
    for schema, matcher in zip(schemas, matchers(vocab, convert(schemas)), strict=True):
        validator = jsonschema.Draft202012Validator(schema)
        wrong = [text for text in sorted(texts) if matcher.fits(text) != validator.is_valid(float(text))]
        assert wrong == [], schema


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"properties": {"b": DIGIT, "a": DIGIT}, "required": ["b"]}, ['{"a":1,"b":2}', '{ "b" : 2 }'],
         ["{}", '{"a":1}', '{"b":1,"a":2}', '{"b":1,"c":2}', '{"b":1,}']),
        (MORE["open"], ['{"s":1}', '{"s":1,"t":"x"}', '{"s":1,"siz":""}', '{"s":1,"sizes":""}', '{"s":1,"":"","é":""}'],
         ['{"s":1,"s":""}', '{"s":1,"size":""}', '{"s":1,"t":3}', r'{"s":1,"\u0073":""}']),
        ({"type": "string", "pattern": "a.c|^x+$"}, ['"za-cz"', '"xxx"', '"a\\"c"'], ['"ac"', '"xxy"', '""']),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ['"日本"', '"\\n\\u00e9\\""'],
         ['"a"', '"abcd"', r'"\ud83d\ude00"']),
        ({"format": "date"}, ['"2024-02-29"', '"2000-02-29"', '"1999-12-31"'],
         ['"2023-02-29"', '"1900-02-29"', '"2024-04-31"']),
        ({"format": "date-time"}, ['"2024-05-06T07:08:09.5+01:00"'],
         ['"2024-05-06 07:08:09Z"', '"2024-05-06T24:00:00Z"']),
        ({"format": "ipv4"}, ['"127.0.0.1"', '"255.255.255.255"'], ['"256.0.0.1"', '"1.2.3"', '"01.2.3.4"']),
        ({"format": "email"}, ['"a.b@example.org"'], ['"a@"', '"@b"', '"a b@c.de"']),
        ({"type": "array", "prefixItems": [DIGIT, SHORT], "items": DIGIT, "minItems": 1, "maxItems": 4},
         ["[1]", '[1, "a"]', '[1,"a",2,3]'], ["[]", '["a"]', "[1,2]", '[1,"a",2,3,4]', "[1,]"]),
        ({"type": "object", "minProperties": 1, "maxProperties": 2}, ['{"a":1}', '{"a":{"b":[]},"c":null}'],
         ["{}", '{"a":1,"b":2,"c":3}']),
        (True, ['{"a":[1,-2.5e3,"x",null,true]}', "0"], ["01", "{a:1}", ""]),
        (MORE["tree"], ['{"kids":[{"kids":[],"v":1}],"v":2}'], ['{"kids":[1],"v":2}']),
        ({"enum": ["a", 1, None], "type": ["string", "null"]}, ['"a"', "null"], ["1"]),
    ],
)  # fmt: skip
def test_texts_that_fit_and_that_do_not(
    vocab: Vocab, convert: Callable[..., list[Any]], schema: Any, good: list[str], bad: list[str]
) -> None:
    [matcher] = matchers(vocab, convert([schema]))
    assert [text for text in good if not matcher.fits(text)] == []
    assert [text for text in bad if matcher.fits(text)] == []


def test_the_order_of_properties_is_the_callers_then_by_name(vocab: Vocab, convert: Callable[..., list[Any]]) -> None:
    [matcher] = matchers(vocab, convert([record(a=DIGIT, b=DIGIT, c=DIGIT, z=DIGIT)], {"z": 0, "c": 1}))
    assert matcher.fits('{"z":0,"c":1,"a":2,"b":3}')
    assert not matcher.fits('{"a":2,"b":3,"c":1,"z":0}')


def test_names_of_rules_and_their_order(convert: Callable[..., list[Any]]) -> None:
    """As the old module had them: space first, paths joined by dashes, one rule for each primitive type."""
    [grammar] = convert([record(**{"a b": {"type": "boolean"}, "c": {"type": "array", "items": {"type": "boolean"}}})])
    names = [line.split(" ::= ")[0] for line in grammar.splitlines()]
    assert names == ["space", "boolean", "a-b-kv", "c", "c-kv", "root"]


def test_many_optional_properties_stay_small(vocab: Vocab, convert: Callable[..., list[Any]]) -> None:
    [grammar] = convert([{"properties": {f"p{n}": DIGIT for n in range(300)}}])
    assert len(grammar) < 100_000
    assert Matcher(vocab, grammar).fits('{"p10":1,"p299":2}')

"""`format` as it is settled before a schema is compiled."""

from __future__ import annotations

import datetime
import json

import pytest

from llamatw.capi.fake import FakeEngine
from llamatw.engine.compiler import Compiler
from llamatw.engine.constraint import Wish
from llamatw.engine.formats import settle
from llamatw.errors import BadRequest


@pytest.fixture(scope="module")
def fits():
    engine = FakeEngine()
    compile = Compiler(engine.vocab, engine.open_grammar).compile

    def fits(schema, value):
        place = compile(Wish("json_schema", json.dumps(schema), "json_schema")).begin()
        try:
            return all(place.advance(token) for token in engine.vocab.tokenize(json.dumps(value)))
        except BadRequest:
            return False

    return fits


def is_a_date(text):
    try:
        return bool(datetime.date.fromisoformat(text))
    except ValueError:
        return False


@pytest.mark.parametrize("year", [0, 1, 4, 100, 400, 1900, 1904, 2000, 2023, 2024, 2100, 9996, 9999])
def test_dates_are_those_of_the_calendar(fits, year):
    date = {"type": "string", "format": "date"}
    for day in ("02-28", "02-29", "02-30", "01-31", "04-31", "12-31", "10-09", "09-30", "00-10", "13-01"):
        text = f"{year:04}-{day}"
        assert fits(date, text) == is_a_date(text), text
        assert fits({**date, "pattern": "-"}, text) == is_a_date(text), text
        assert fits({"type": "string", "format": "date-time"}, f"{text}T01:02:03Z") == is_a_date(text), text


def test_a_pattern_beside_a_date_still_holds(fits):
    schema = {"type": "string", "format": "date", "pattern": "^19"}
    assert fits(schema, "1999-01-01") and not fits(schema, "2000-01-01")


@pytest.mark.parametrize("others", [5, None, "x", {"a": {}}])
def test_a_date_beside_nonsense_is_refused(fits, others):
    with pytest.raises(BadRequest):
        fits({"type": "string", "format": "date", "allOf": others}, "2000-01-01")


def test_names_that_no_version_defines_are_annotations():
    given = {"type": "integer", "format": "int32"}
    assert settle({"items": given, "anyOf": [given]}) == {"items": {"type": "integer"}, "anyOf": [{"type": "integer"}]}
    assert settle({"properties": {"format": given}}) == {"properties": {"format": {"type": "integer"}}}
    assert settle({"format": "iri"}) == {"format": "iri"}


def test_data_is_no_schema():
    data = {"format": "int32"}
    for schema in ({"const": data}, {"enum": [data]}, {"default": data}, {"examples": [data]}, {"format": {}}, True):
        assert settle(schema) == schema

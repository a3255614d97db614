"""`format` in schemas, settled before llguidance reads them.

Its dates have a 29th of February each year, and a year 0; validators refuse both.  Names that no version of JSON Schema
defines (OpenAPI's `int32`, Pydantic's `password`) are annotations; it would refuse them.
"""

from __future__ import annotations

from typing import Any

_DEFINED = frozenset(
    "date date-time duration email hostname idn-email idn-hostname ipv4 ipv6 iri iri-reference json-pointer regex"
    " relative-json-pointer time uri uri-reference uri-template uuid".split()
)
_DATED = ("date", "date-time")
_YEAR = "(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DATE = f"^(?:{_YEAR}-(?:02-(?:[01][0-9]|2[0-8])|0[13-9]-|1[0-2]-)|{_LEAP_YEAR}-02-29)"
_SCHEMAS_BY_NAME = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
_DATA = ("const", "default", "enum", "example", "examples")


def settle(schema: Any) -> Any:
    """The same schema, or list of schemas, with formats that mean what they say."""
    if isinstance(schema, list):
        return [settle(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    settled = {keyword: _settle_member(keyword, value) for keyword, value in schema.items()}
    name = settled.get("format")
    if isinstance(name, str) and name not in _DEFINED:
        del settled["format"]
    others = settled.get("allOf", [])
    if name in _DATED and isinstance(others, list):  # what else it may be is refused
        settled["allOf"] = [*others, {"pattern": _DATE}]
    return settled


def _settle_member(keyword: str, value: Any) -> Any:
    if keyword in _DATA:
        return value
    if keyword in _SCHEMAS_BY_NAME and isinstance(value, dict):
        return {name: settle(schema) for name, schema in value.items()}
    return settle(value)

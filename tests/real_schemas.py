"""JSON schemas as clients send them: tools, forms, extraction, configuration, what Pydantic and OpenAPI write."""

from __future__ import annotations

from typing import Any

from tests.schemas import Schema, record

STRING: Schema = {"type": "string", "maxLength": 24}
NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 16}
COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 1000}
PRICE: Schema = {"type": "number", "minimum": 0, "maximum": 9999.99, "multipleOf": 0.01}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
FLAG: Schema = {"type": "boolean"}
NULL: Schema = {"type": "null"}


def enum(*values: Any) -> Schema:
    return {"enum": list(values)}


def text(format: str, **more: Any) -> Schema:
    return {"type": "string", "format": format, **more}


def matches(pattern: str) -> Schema:
    return {"type": "string", "pattern": pattern}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, NULL]}


def many(items: Schema, most: int = 3, least: int = 0) -> Schema:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def row(*items: Schema) -> Schema:
    return {"type": "array", "prefixItems": list(items), "items": False, "minItems": len(items)}


def some(required: str, **members: Schema) -> Schema:
    """An object of which only these words are required."""
    return {
        "type": "object",
        "properties": members,
        "required": required.split(),
        "additionalProperties": False,
    }


def with_defs(schema: Schema, **defs: Schema) -> Schema:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": defs, **schema}


def ref(name: str, under: str = "$defs") -> Schema:
    return {"$ref": f"#/{under}/{name}"}


ADDRESS = some("street city", street=STRING, city=NAME, zip=matches("^[0-9]{5}$"), country=matches("^[A-Z]{2}$"))
MONEY = record(amount=PRICE, currency=enum("EUR", "USD", "JPY"))
PLACE = record(
    lat={"type": "number", "minimum": -90, "maximum": 90}, lon={"type": "number", "minimum": -180, "maximum": 180}
)

FORMS: dict[str, Schema] = {
    "person": some(
        "name", name=NAME, age={"type": "integer", "minimum": 0, "maximum": 130}, email=text("email", maxLength=30)
    ),
    "address": ADDRESS,
    "contact": with_defs(some("name home", name=NAME, home=ref("address"), work=ref("address")), address=ADDRESS),
    "login": record(user=matches("^[a-z][a-z0-9_]{2,11}$"), remember=FLAG),
    "phone": record(country=matches(r"^\+[1-9]\d{0,2}$"), number=matches(r"^\d{6,10}$")),
    "event": record(
        title=STRING,
        start=text("date-time"),
        minutes={"type": "integer", "minimum": 5, "multipleOf": 5, "maximum": 480},
    ),
    "birthday": record(name=NAME, born=text("date")),
    "opening hours": many(
        record(day=enum("mon", "tue", "wed", "thu", "fri"), open=text("time"), close=text("time")), 2, 1
    ),
    "duration": record(task=NAME, takes=text("duration")),
    "iban": matches("^[A-Z]{2}[0-9]{2}( [0-9]{4}){2,4}$"),
    "license plate": matches("^[A-Z]{1,3}-[A-Z]{1,2} [1-9][0-9]{0,3}$"),
    "version": matches(r"^(0|[1-9]\d?)\.(0|[1-9]\d?)\.(0|[1-9]\d?)(-(alpha|beta|rc)\.[1-9])?$"),
    "colour": {"oneOf": [matches("^#[0-9a-f]{6}$"), row(*[{"type": "integer", "minimum": 0, "maximum": 255}] * 3)]},
    "slug": matches("^[a-z0-9]+(-[a-z0-9]+){0,3}$"),
    "survey": record(
        answers=many(record(question={"type": "integer", "minimum": 1, "maximum": 9}, score=enum(1, 2, 3, 4, 5)), 4, 2)
    ),
    "consent": record(terms={"const": True}, mail=FLAG),
    "coordinates": PLACE,
    "bounding box": row(*[{"type": "number", "minimum": -180, "maximum": 180}] * 4),
    "temperature": {"type": "number", "exclusiveMinimum": -273.15, "maximum": 100},
    "percentage": {"type": "number", "minimum": 0, "maximum": 100, "multipleOf": 0.5},
}

SHOPS: dict[str, Schema] = {
    "price": MONEY,
    "line": record(
        sku=matches("^[A-Z]{3}-[0-9]{4}$"), count={"type": "integer", "minimum": 1, "maximum": 99}, price=PRICE
    ),
    "order": with_defs(
        record(id=text("uuid"), lines=many(ref("line"), 2, 1), total=ref("money")),
        line=record(sku=matches("^[A-Z]{3}-[0-9]{4}$"), count=COUNT),
        money=MONEY,
    ),
    "invoice": record(number=matches("^INV-[0-9]{6}$"), issued=text("date"), paid=nullable(text("date")), total=MONEY),
    "payment": {
        "oneOf": [
            record(method={"const": "card"}, last4=matches("^[0-9]{4}$")),
            record(method={"const": "transfer"}, iban=matches("^DE[0-9]{20}$")),
            record(method={"const": "cash"}),
        ]
    },
    "shipping": record(to=ADDRESS, express=FLAG, notes=nullable(STRING)),
    "stock": {"type": "array", "items": row(NAME, COUNT), "maxItems": 3},
    "rating": record(stars=enum(1, 2, 3, 4, 5), text=STRING, tags=many(NAME)),
    "discount": {"anyOf": [record(percent=SHARE), record(amount=PRICE), record(code=matches("^[A-Z0-9]{6}$"))]},
    "category": with_defs(ref("category"), category=some("name", name=NAME, children=many(ref("category"), 1))),
    "vat": enum(0, 7, 19, 7.7, None),
    "size": {
        "type": "object",
        "properties": {"w": COUNT, "h": COUNT, "unit": {"const": "mm"}},
        "required": ["w", "h", "unit"],
        "additionalProperties": False,
    },
}

EXTRACTION: dict[str, Schema] = {
    "sentiment": record(sentiment=enum("positive", "neutral", "negative"), confidence=SHARE),
    "entities": record(entities=many(record(text=NAME, type=enum("PERSON", "PLACE", "ORG")), 3, 1)),
    "spans": many(record(start=COUNT, end=COUNT, label=enum("A", "B")), 2, 1),
    "summary": record(title=STRING, points=many(STRING, 3, 1)),
    "classification": record(label=enum("spam", "ham"), why=STRING),
    "multi label": {"type": "array", "items": enum("news", "sport", "art", "tech"), "minItems": 1, "maxItems": 3},
    "chain of thought": record(steps=many(record(thought=STRING, result=STRING), 2, 1), answer=STRING),
    "question and answer": record(answerable=FLAG, answer=nullable(STRING)),
    "triples": many(row(NAME, enum("is", "has", "owns"), NAME), 2, 1),
    "translation": record(de=STRING, fr=STRING, ja=STRING),
    "table": record(header=many(NAME, 3, 1), rows=many(many(nullable(COUNT), 3, 1), 2)),
    "citation": record(
        title=STRING,
        year={"type": "integer", "minimum": 1500, "maximum": 2030},
        doi=nullable(matches(r"^10\.\d{4}/[a-z0-9]{1,8}$")),
    ),
    "recipe": record(
        name=NAME, minutes=COUNT, steps=many(STRING, 2, 1), ingredients=many(record(what=NAME, grams=COUNT), 2, 1)
    ),
    "resume": some(
        "name skills", name=NAME, skills=many(NAME, 3, 1), jobs=many(record(firm=NAME, since=text("date")), 2)
    ),
    "log line": record(
        at=text("date-time"), level=enum("DEBUG", "INFO", "ERROR"), host=text("hostname", maxLength=20), ip=text("ipv4")
    ),
    "medication": record(drug=NAME, dose=record(value=PRICE, unit=enum("mg", "ml")), times=many(text("time"), 2, 1)),
    "weather": record(
        place=NAME, celsius={"type": "number", "minimum": -60, "maximum": 60}, sky=enum("clear", "cloud", "rain")
    ),
    "score card": record(home=record(team=NAME, goals=COUNT), away=record(team=NAME, goals=COUNT)),
    "verdict": {"type": "string", "enum": ["yes", "no", "unknown"]},
    "truth": {"type": "boolean", "description": "whether it holds"},
}

TOOLS: dict[str, Schema] = {
    "get_weather": record(location=NAME, unit=enum("celsius", "fahrenheit")),
    "search": some("query", query=STRING, limit={"type": "integer", "minimum": 1, "maximum": 50, "default": 10}),
    "send_mail": record(to=many(text("email", maxLength=30), 2, 1), subject=STRING, body=STRING),
    "run_sql": record(database=enum("main", "logs"), query=STRING),
    "book_flight": record(
        origin=matches("^[A-Z]{3}$"), to=matches("^[A-Z]{3}$"), on=text("date"), back=nullable(text("date"))
    ),
    "read_file": record(path=matches("^(/[a-z]{1,6}){1,3}$"), range=nullable(row(COUNT, COUNT))),
    "edit": record(path=NAME, edits=many(record(old=STRING, new=STRING), 2, 1)),
    "shell": record(command=many(NAME, 3, 1), timeout=nullable(COUNT)),
    "call": {
        "anyOf": [
            record(name={"const": "f"}, arguments=record(x=COUNT)),
            record(name={"const": "g"}, arguments=record(y=FLAG)),
        ]
    },
    "parallel calls": many({"anyOf": [record(name={"const": "on"}), record(name={"const": "off"}, after=COUNT)]}, 3, 1),
    "set_light": record(room=enum("kitchen", "hall"), level=SHARE, colour=nullable(matches("^#[0-9A-F]{6}$"))),
    "calculator": with_defs(
        ref("expression"),
        expression={
            "anyOf": [COUNT, record(op=enum("+", "-"), left=COUNT, right=COUNT), record(neg=ref("expression"))]
        },
    ),
    "http": record(method=enum("GET", "POST"), url=text("uri", maxLength=40), headers=many(row(NAME, STRING), 2)),
    "choose": row(enum("left", "right"), SHARE),
    "schedule": record(cron=matches(r"^(\*|[0-5]?\d) (\*|1?\d) \* \* (\*|[0-6])$"), enabled=FLAG),
    "no parameters": {"type": "object", "properties": {}, "additionalProperties": False},
}

CONFIGURATION: dict[str, Schema] = {
    "server": record(
        host={"anyOf": [text("ipv4"), text("ipv6"), text("hostname", maxLength=20)]},
        port={"type": "integer", "minimum": 1, "maximum": 65535},
    ),
    "feature flags": {
        "type": "object",
        "properties": {f"flag {n}": FLAG for n in range(5)},
        "additionalProperties": False,
    },
    "map of counts": {"type": "object", "additionalProperties": COUNT, "maxProperties": 2},
    "names by pattern": {
        "type": "object",
        "patternProperties": {"^x-[a-z]{1,4}$": COUNT},
        "additionalProperties": False,
        "maxProperties": 2,
    },
    "map beside members": {
        "type": "object",
        "properties": {"id": COUNT},
        "required": ["id"],
        "additionalProperties": FLAG,
        "maxProperties": 2,
    },
    "allOf": {
        "allOf": [
            {"type": "object", "properties": {"a": COUNT}, "required": ["a"]},
            {"properties": {"b": FLAG}, "required": ["b"], "additionalProperties": True},
        ],
        "maxProperties": 2,
    },
    "key": record(algorithm=enum("ed25519", "rsa"), fingerprint=matches("^([0-9a-f]{2}:){7}[0-9a-f]{2}$")),
    "mixed enum": enum("auto", 0, -1, 1.5, True, None, [], {}, ["a"], {"k": {"v": 1}}),
    "const list": {"const": [1, "two", None, {"three": 3.5}]},
    "log level or number": {"anyOf": [enum("debug", "info"), {"type": "integer", "minimum": 0, "maximum": 9}]},
    "several types": {"type": ["integer", "boolean", "null"], "minimum": 0, "maximum": 99},
    "uuids": many(text("uuid"), 2, 1),
    "matrix": many(many({"type": "integer", "minimum": -9, "maximum": 9}, 3, 3), 3, 3),
    "deep": record(a=record(b=record(c=record(d=record(e=record(f=many(many(FLAG, 1), 1))))))),
    "wide": record(**{f"field_{n}": enum(n, None) for n in range(20)}),
    "escapes in names": {
        "type": "object",
        "properties": {'a"b': COUNT, "c\\d": FLAG, "e/f": NULL, "g~h": NULL, "\u00fc\n": NULL},
        "required": ['a"b', "c\\d", "e/f"],
        "additionalProperties": False,
    },
    "any number": {"type": "number", "minimum": -1e6, "maximum": 1e6},
    "odd": {"type": "integer", "minimum": 1, "maximum": 99, "not multiple of": 2},
    "nothing said": {"maxLength": 3, "minimum": 0, "maximum": 5, "maxItems": 0, "maxProperties": 0},
}

_NODE = record(value=COUNT, next=nullable(ref("node")))
_TREE = record(name=NAME, children=many(ref("tree"), 2))
_PLAN = {
    "anyOf": [record(do=NAME), record(first=ref("plan"), then=ref("plan")), record(repeat=ref("plan"), times=COUNT)]
}
_VALUE = {"anyOf": [NULL, FLAG, COUNT, many(ref("value"), 2), record(key=NAME, value=ref("value"))]}

RECURSIVE: dict[str, Schema] = {
    "linked list": with_defs(ref("node"), node=_NODE),
    "tree": with_defs(ref("tree"), tree=_TREE),
    "tree in a member": with_defs(record(id=COUNT, root=ref("tree")), tree=_TREE),
    "itself": some("name", name=NAME, child={"$ref": "#"}),
    "list of itself": {"type": "array", "items": {"$ref": "#"}, "maxItems": 2},
    "plan": with_defs(ref("plan"), plan=_PLAN),
    "value": with_defs(ref("value"), value=_VALUE),
    "mutual": with_defs(ref("even"), even=some("", odd=ref("odd")), odd=some("n", n=COUNT, even=ref("even"))),
    "comments": with_defs(
        many(ref("comment"), 1, 1), comment=some("by", by=NAME, at=text("date"), replies=many(ref("comment"), 1))
    ),
    "filter": with_defs(
        ref("filter"),
        filter={
            "anyOf": [
                record(field=NAME, op=enum("=", "<"), value=COUNT),
                record(all=many(ref("filter"), 2, 1)),
                record(no=ref("filter")),
            ]
        },
    ),
}

PYDANTIC: dict[str, Schema] = {
    "model": {
        "$defs": {"Kind": {"enum": ["a", "b"], "title": "Kind", "type": "string"}},
        "properties": {
            "kind": ref("Kind"),
            "n": {"default": 1, "maximum": 9, "minimum": 0, "title": "N", "type": "integer"},
        },
        "required": ["kind"],
        "title": "Model",
        "type": "object",
        "additionalProperties": False,
    },
    "optional": record(at={"anyOf": [text("date-time"), NULL], "default": None, "title": "At"}),
    "tagged union": {
        "$defs": {
            "Cat": record(kind={"const": "cat", "title": "Kind", "type": "string"}, lives={**COUNT, "title": "Lives"}),
            "Dog": record(kind={"const": "dog", "title": "Kind", "type": "string"}, good=FLAG),
        },
        "discriminator": {"mapping": {"cat": "#/$defs/Cat", "dog": "#/$defs/Dog"}, "propertyName": "kind"},
        "oneOf": [ref("Cat"), ref("Dog")],
    },
    "tuple": {"maxItems": 2, "minItems": 2, "prefixItems": [COUNT, FLAG], "type": "array", "title": "Pair"},
    "literal": record(
        mode={"const": "fast", "title": "Mode", "type": "string"}, level={"enum": [1, 2], "type": "integer"}
    ),
    "constrained": record(
        code={"type": "string", "pattern": "^[A-Z]+$", "minLength": 2, "maxLength": 4, "title": "Code"}
    ),
    "secret": record(password=text("password", maxLength=8, writeOnly=True)),
    "path": record(file=text("path", maxLength=12)),
    "decimal": {
        "anyOf": [{"type": "number", "minimum": 0, "maximum": 9}, matches(r"^\d{1,3}\.\d{2}$")],
        "title": "Price",
    },
    "url": record(link=text("uri", minLength=1, maxLength=40)),
    "uuid": record(id=text("uuid", title="Id"), parent=nullable(text("uuid"))),
    "defaults": some(
        "",
        a={"type": "integer", "default": 3, "minimum": 0, "maximum": 5},
        b={**NAME, "default": "x", "examples": ["y"]},
    ),
}

OPENAPI: dict[str, Schema] = {
    "int32": record(id={"type": "integer", "format": "int32", "minimum": 0, "maximum": 99, "example": 7}),
    "double": record(x={"type": "number", "format": "double", "minimum": 0, "maximum": 1}),
    "definitions": {"definitions": {"Pet": record(id=COUNT, name=NAME)}, "$ref": "#/definitions/Pet"},
    "byte": record(data=text("byte", pattern="^([A-Za-z0-9+/]{4}){1,3}$")),
    "read only": record(id={**COUNT, "readOnly": True}, name={**NAME, "deprecated": True}),
    "error": record(
        code={"type": "integer", "minimum": 400, "maximum": 599}, message=STRING, details=nullable(many(STRING, 1))
    ),
    "page": record(items=many(record(id=COUNT), 2), next=nullable(matches("^[a-f0-9]{8}$"))),
    "enum with a type": record(status={"type": "string", "enum": ["available", "sold"], "default": "available"}),
    "one of by members": {"oneOf": [record(a=COUNT), record(b=COUNT)]},
    "old tuple": {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "array",
        "items": [COUNT, FLAG],
        "additionalItems": False,
        "minItems": 2,
        "maxItems": 2,
    },
    "pointer with escapes": {
        "$defs": {"a/b": FLAG, "c~d": COUNT},
        **record(x={"$ref": "#/$defs/a~1b"}, y={"$ref": "#/$defs/c~0d"}),
    },
    "named": {
        "$id": "https://example.com/thing",
        "$defs": {"n": {"$anchor": "number", **COUNT}},
        **record(n={"$ref": "#number"}),
    },
}

REAL: dict[str, Schema] = {
    f"{group}: {name}": schema
    for group, schemas in (
        ("form", FORMS),
        ("shop", SHOPS),
        ("extraction", EXTRACTION),
        ("tool", TOOLS),
        ("configuration", CONFIGURATION),
        ("recursive", RECURSIVE),
        ("pydantic", PYDANTIC),
        ("openapi", OPENAPI),
    )
    for name, schema in schemas.items()
}


# Not supported, and what the refusal names.
REFUSED: list[tuple[Schema, str]] = [
    (record(a={"not": COUNT}), "'not' at '/properties/a/not'"),
    ({"if": {"minimum": 3}, "then": {"multipleOf": 2}}, "'if' at '/if'"),
    (many({**COUNT, "uniqueItems": True}), "'uniqueItems' at '/items/uniqueItems'"),
    ({"type": "array", "contains": COUNT}, "'contains' at '/contains'"),
    ({"type": "object", "propertyNames": {"maxLength": 3}}, "'propertyNames' at '/propertyNames'"),
    ({**record(a=COUNT), "dependentRequired": {"a": ["b"]}}, "'dependentRequired' at '/dependentRequired'"),
    (
        {"$defs": {"x": {"unevaluatedProperties": False}}, "$ref": "#/$defs/x"},
        "'unevaluatedProperties' at '/$defs/x/unev",
    ),
    (record(a=text("iri")), "format 'iri' at '/properties/a/format'"),
    (record(a=text("json-pointer")), "format 'json-pointer' at '/properties/a/format'"),
    (record(a={"type": "varchar"}), "type 'varchar' at '/properties/a/type'"),
    (record(a=ref("missing")), "'/properties/a/$ref' refers to '/$defs/missing'"),
    (record(a={"$ref": "https://example.com/s"}), "'/properties/a/$ref' refers to 'https://example.com/s'"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "'oneOf' at '/oneOf'"),
    (matches("(?=a)b"), "look-around"),
    (matches(r"^(a)\1$"), "backreferences"),
    ({"enum": []}, "Unsatisfiable"),
    ({"type": "integer", "minimum": 5, "maximum": 3}, "Unsatisfiable"),
    ({"type": "integer", "minimum": 2**53 + 1}, "the number at '/minimum' is beyond"),
]

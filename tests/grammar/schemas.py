"""JSON schemas of many kinds, two hundred by name; and those that can't be kept to the letter, which are refused."""

from typing import Any

Schema = dict[str, Any]


def record(required: list[str] | None = None, /, **properties: Any) -> Schema:
    """An object of these members alone; all are required unless some are named."""
    names = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


def text(least: int = 0, most: int = 8, **keywords: Any) -> Schema:
    return {"type": "string", "minLength": least, "maxLength": most, **keywords}


def array(items: Any, least: int = 0, most: int = 3, **keywords: Any) -> Schema:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most, **keywords}


def whole(low: int, high: int) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


def ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def defs(schema: Schema, /, **definitions: Any) -> Schema:
    return {**schema, "$defs": definitions}


BOOL, NULL, INT, NUMBER, STRING = ({"type": t} for t in ("boolean", "null", "integer", "number", "string"))
DIGIT = whole(0, 9)

SCALARS: dict[str, Any] = {
    "boolean": BOOL,
    "null": NULL,
    "integer": INT,
    "number": NUMBER,
    "string": STRING,
    "boolean or null": {"type": ["boolean", "null"]},
    "integer or boolean": {"type": ["integer", "boolean"]},
    "string or null": {"type": ["string", "null"], "maxLength": 5},
    "all scalars": {"type": ["string", "number", "boolean", "null"], "maxLength": 3},
    "const text": {"const": "yes"},
    "const number": {"const": 42},
    "const negative": {"const": -1},
    "const fraction": {"const": 0.25},
    "const null": {"const": None},
    "const false": {"const": False},
    "const empty text": {"const": ""},
    "const list": {"const": [1, "two", None, {"three": 3.5}]},
    "const object": {"const": {"a": {"b": ["c"]}, "d": True}},
    "const unicode": {"const": "naïve 東京 👩‍👧"},
    "const escapes": {"const": 'tab\t quote" back\\slash \u0001 /'},
    "enum texts": {"enum": ["red", "green", "blue"]},
    "enum prefixes": {"enum": ["a", "ab", "abc", "abcd"]},
    "enum numbers": {"enum": [1, 10, 100, 2.5, -7]},
    "enum mixed": {"enum": ["one", 2, None, True, [4], {"five": 5}]},
    "enum of one": {"enum": ["only"]},
    "enum typed": {"type": "string", "enum": ["a", "b"]},
    "enum narrowed by type": {"type": "integer", "enum": ["a", 1, 2, "b"]},
    "enum narrowed by range": {"enum": [1, 5, 9], "type": "integer", "minimum": 4},
    "enum narrowed by length": {"enum": ["a", "bb", "ccc"], "type": "string", "minLength": 2},
    "enum unicode": {"enum": ["ä", "ö", "ü", "ß", "e\u0301"]},
    "enum of many": {"enum": [f"value {i * 7919 % 1000:03}" for i in range(1000)]},
}
NUMBERS: dict[str, Any] = {
    "integer range": whole(1, 6),
    "integer wide range": whole(-1000, 123_456),
    "integer negative range": whole(-20, -11),
    "integer across zero": whole(-5, 5),
    "integer of one value": whole(7, 7),
    "integer from": {"type": "integer", "minimum": 100},
    "integer up to": {"type": "integer", "maximum": -3},
    "integer exclusive": {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 4},
    "integer year": whole(1900, 2100),
    "integer 53 bits": whole(-(2**53), 2**53),
    "integer half bounds": {"type": "integer", "minimum": 1.5, "maximum": 3.5},
    "integer multiple of 5": {"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 100},
    "integer multiple of 7": {"type": "integer", "multipleOf": 7, "minimum": 1},
    "integer multiple of 256": {"type": "integer", "multipleOf": 256, "minimum": 0, "maximum": 65536},
    "number range": {"type": "number", "minimum": 0, "maximum": 1},
    "number fraction range": {"type": "number", "minimum": -0.5, "maximum": 0.75},
    "number exclusive": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "number from": {"type": "number", "minimum": 3.25},
    "number up to": {"type": "number", "maximum": -2.5},
    "number percent": {"type": "number", "minimum": 0, "maximum": 100},
    "number large": {"type": "number", "minimum": 1_000_000, "maximum": 2_000_000},
    "number money": {"type": "number", "multipleOf": 0.01, "minimum": 0, "maximum": 1000},
    "number multiple of a half": {"type": "number", "multipleOf": 0.5, "minimum": 0, "maximum": 10},
    "number of both bounds": {"type": "number", "minimum": 1, "exclusiveMinimum": 2, "maximum": 9},
}
STRINGS: dict[str, Any] = {
    "at least": text(3, 20),
    "at most": text(0, 4),
    "exactly": text(6, 6),
    "empty": text(0, 0),
    "one character": text(1, 1),
    "long": text(40, 60),
    "pattern digits": {"type": "string", "pattern": "^[0-9]{3}-[0-9]{4}$"},
    "pattern unanchored": {"type": "string", "pattern": "ab", "maxLength": 12},
    "pattern begin": {"type": "string", "pattern": "^x", "maxLength": 6},
    "pattern end": {"type": "string", "pattern": "z$", "maxLength": 6},
    "pattern alternatives": {"type": "string", "pattern": "^(cat|dog|bird)s?$"},
    "pattern identifier": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,15}$"},
    "pattern hex colour": {"type": "string", "pattern": "^#[0-9a-fA-F]{6}$"},
    "pattern version": {"type": "string", "pattern": r"^[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{1,2}$"},
    "pattern escapes": {"type": "string", "pattern": r'^"\\\\?\t"$'},
    "pattern classes": {"type": "string", "pattern": r"^[^\s,;]{2,5}$"},
    "pattern unicode": {"type": "string", "pattern": "^[äöü]{1,3}ß?$"},
    "pattern optional groups": {"type": "string", "pattern": "^(a(b(c)?)?)?$"},
    "pattern and length": {"type": "string", "pattern": "^[a-f]+$", "minLength": 4, "maxLength": 7},
    "pattern repeated": {"type": "string", "pattern": "^([0-9]{2}:){2}[0-9]{2}$"},
    "pattern of everything": {"type": "string", "pattern": "^.{0,5}$"},
    "pattern path": {"type": "string", "pattern": "^(/[a-z]{1,4}){1,3}$"},
    "format date": {"type": "string", "format": "date"},
    "format time": {"type": "string", "format": "time"},
    "format date-time": {"type": "string", "format": "date-time"},
    "format duration": {"type": "string", "format": "duration"},
    "format email": {"type": "string", "format": "email", "maxLength": 40},
    "format hostname": {"type": "string", "format": "hostname", "maxLength": 30},
    "format ipv4": {"type": "string", "format": "ipv4"},
    "format ipv6": {"type": "string", "format": "ipv6"},
    "format uuid": {"type": "string", "format": "uuid"},
    "format uri": {"type": "string", "format": "uri", "maxLength": 60},
}
ARRAYS: dict[str, Any] = {
    "of digits": array(DIGIT),
    "of booleans, two": array(BOOL, 2, 2),
    "empty": array(DIGIT, 0, 0),
    "at least one": array(DIGIT, 1, 4),
    "of texts": array(text(1, 4), 1, 3),
    "of enums": array({"enum": ["n", "e", "s", "w"]}, 3, 5),
    "of arrays": array(array(DIGIT, 1, 2), 1, 2),
    "matrix": array(array(whole(0, 1), 3, 3), 3, 3),
    "of records": array(record(id=DIGIT, name=text(1, 3)), 1, 2),
    "of anything of few kinds": array({"anyOf": [BOOL, NULL, DIGIT]}, 1, 4),
    "open end": {"type": "array", "items": BOOL},
    "without items": {"type": "array", "maxItems": 1},
    "tuple": {"type": "array", "prefixItems": [DIGIT, text(0, 3), BOOL], "items": False, "minItems": 3},
    "tuple and more": {"type": "array", "prefixItems": [text(1, 2)], "items": DIGIT, "minItems": 2, "maxItems": 4},
    "tuple, part of it": {"type": "array", "prefixItems": [DIGIT, DIGIT, DIGIT], "items": False, "minItems": 1},
    "tuple of tuples": {
        "type": "array", "minItems": 2, "items": False,
        "prefixItems": [{"type": "array", "prefixItems": [DIGIT], "items": False, "minItems": 1}] * 2,
    },
    "longest": array(NULL, 20, 30),
    "of constants": array({"const": "x"}, 2, 4),
    "of mixed records": array({"anyOf": [record(a=DIGIT), record(b=BOOL)]}, 1, 3),
    "of nullable": array({"type": ["integer", "null"], "minimum": 0, "maximum": 9}, 1, 3),
}  # fmt: skip
OBJECTS: dict[str, Any] = {
    "empty": {"type": "object", "additionalProperties": False},
    "one member": record(name=text(1, 5)),
    "two members": record(name=text(1, 5), age=whole(0, 120)),
    "all kinds": record(t=text(0, 3), i=DIGIT, n={"type": "number", "minimum": 0, "maximum": 9}, b=BOOL, z=NULL),
    "all optional": record([], a=DIGIT, b=BOOL, c=text(0, 2)),
    "some optional": record(["b"], a=DIGIT, b=BOOL, c=text(0, 2)),
    "first optional": record(["c", "b"], a=DIGIT, b=BOOL, c=NULL),
    "last optional": record(["a"], a=DIGIT, b=BOOL),
    "nested": record(outer=record(middle=record(inner=DIGIT))),
    "nested optional": record([], outer=record([], inner=record([], x=DIGIT))),
    "many members": record(**{f"field_{i}": DIGIT for i in range(30)}),
    "many optional members": record([], **{f"f{i}": BOOL for i in range(20)}),
    "unicode names": record(**{"größe": DIGIT, "名前": text(1, 2), "naïve key": BOOL, "👍": NULL}),
    "names with escapes": record(**{'a"b': DIGIT, "c\\d": BOOL, "e\tf": NULL, "g/h": DIGIT}),
    "empty name": record(**{"": DIGIT}),
    "names with dots": record(**{"a.b": DIGIT, "a-b": DIGIT, "$a": DIGIT, "a b": DIGIT}),
    "names that begin alike": record([], order=DIGIT, orderId=DIGIT, orderName=BOOL, or_=NULL),
    "names of keywords": record(type={"const": "x"}, properties=DIGIT, required=BOOL, enum=NULL),
    "open to digits": {"type": "object", "properties": {"a": BOOL}, "required": ["a"], "additionalProperties": DIGIT},
    "map of booleans": {"type": "object", "additionalProperties": BOOL},
    "map of records": {"type": "object", "additionalProperties": record(x=DIGIT)},
    "map of patterns": {"type": "object", "patternProperties": {"^[a-z]{1,3}$": DIGIT}, "additionalProperties": False},
    "map of two patterns": {
        "type": "object", "patternProperties": {"^n_[a-z]$": DIGIT, "^b_[a-z]$": BOOL}, "additionalProperties": False,
    },
    "at least one member": {"type": "object", "additionalProperties": DIGIT, "minProperties": 1, "maxProperties": 2},
    "no members": {"type": "object", "maxProperties": 0},
    "required beside properties": {
        "type": "object", "properties": {"a": DIGIT}, "required": ["a", "b"], "additionalProperties": BOOL,
    },
    "false member": {"type": "object", "properties": {"a": DIGIT, "b": False}, "additionalProperties": False},
    "anything as a member": record(any=True, n=DIGIT),
    "with annotations": {
        **record(a={**DIGIT, "description": "a digit", "default": 1, "examples": [2]}),
        "title": "T", "description": "D", "$comment": "C", "readOnly": True,
        "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/a.json",
    },
    "draft 7": {**record(a=DIGIT), "$schema": "http://json-schema.org/draft-07/schema#"},
    "array in it": record(tags=array(text(1, 3), 0, 2), matrix=array(array(DIGIT, 1, 1), 1, 2)),
    "enum member": record(colour={"enum": ["red", "green"]}, size={"enum": [1, 2, 3]}),
    "nullable members": record(a={"type": ["integer", "null"], "minimum": 0, "maximum": 3}, b={"anyOf": [BOOL, NULL]}),
    "long names": record(**{"a_rather_long_name_of_a_member_" + "x" * 60: DIGIT}),
}  # fmt: skip
COMBINED: dict[str, Any] = {
    "anyOf scalars": {"anyOf": [BOOL, DIGIT, {"const": "x"}]},
    "anyOf records": {"anyOf": [record(a=DIGIT), record(b=BOOL), record(c=NULL)]},
    "anyOf overlapping": {"anyOf": [whole(0, 5), whole(3, 9)]},
    "anyOf nested": {"anyOf": [{"anyOf": [BOOL, NULL]}, {"anyOf": [DIGIT, {"const": "x"}]}]},
    "anyOf beside properties": {
        "type": "object", "properties": {"a": DIGIT, "b": DIGIT}, "additionalProperties": False,
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    },
    "anyOf of one": {"anyOf": [DIGIT]},
    "anyOf with an impossible one": {"anyOf": [False, BOOL]},
    "oneOf kinds": {"oneOf": [BOOL, NULL, text(0, 3)]},
    "oneOf constants": {"oneOf": [{"const": "a"}, {"const": "b"}, {"const": 3}]},
    "oneOf enums": {"oneOf": [{"enum": ["a", "b"]}, {"enum": [1, 2]}]},
    "oneOf tagged": {
        "oneOf": [record(kind={"const": "circle"}, r=DIGIT), record(kind={"const": "box"}, w=DIGIT, h=DIGIT)],
    },
    "oneOf array or object": {"oneOf": [array(DIGIT, 1, 2), record(a=DIGIT)]},
    "allOf ranges": {"allOf": [{"type": "integer", "minimum": 3}, {"type": "integer", "maximum": 8}]},
    "allOf records": {
        "allOf": [
            {"type": "object", "properties": {"a": DIGIT}, "required": ["a"]},
            {"type": "object", "properties": {"b": BOOL}, "required": ["b"]},
        ],
        "maxProperties": 2,
    },
    "allOf of one": {"allOf": [text(1, 3)]},
    "allOf lengths": {"allOf": [text(2, 9), text(0, 4)]},
    "allOf pattern and length": {"allOf": [{"type": "string", "pattern": "^[a-c]*$"}, text(3, 5)]},
    "allOf patterns": {"allOf": [{"type": "string", "pattern": "^a"}, {"type": "string", "pattern": "b$"}],
                       "maxLength": 6},
    "allOf enum and range": {"allOf": [{"enum": [1, 2, 3, 4]}, {"type": "integer", "minimum": 3}]},
    "allOf of anyOf": {"allOf": [{"anyOf": [whole(0, 4), BOOL]}, {"anyOf": [whole(2, 9), NULL]}]},
    "siblings of anyOf": {"type": "integer", "anyOf": [{"minimum": 5}, {"maximum": 2}], "minimum": 0, "maximum": 9},
    "siblings of ref": defs({"$ref": "#/$defs/n", "minimum": 3}, n=whole(0, 5)),
}  # fmt: skip
REFERENCES: dict[str, Any] = {
    "definition": defs(ref("n"), n=DIGIT),
    "definitions of draft 7": {"$ref": "#/definitions/n", "definitions": {"n": BOOL}},
    "used twice": defs(record(a=ref("p"), b=ref("p")), p=record(x=DIGIT, y=DIGIT)),
    "chain": defs(ref("a"), a=ref("b"), b=ref("c"), c=text(1, 2)),
    "in an array": defs(array(ref("p"), 1, 2), p=record(x=DIGIT)),
    "in anyOf": defs({"anyOf": [ref("a"), ref("b")]}, a=record(a=DIGIT), b=record(b=BOOL)),
    "names that are escaped": defs(
        {"anyOf": [{"$ref": "#/$defs/a~1b"}, {"$ref": "#/$defs/c%25d"}]}, **{"a/b": DIGIT, "c%d": BOOL}
    ),
    "into properties": {
        "type": "object", "properties": {"a": DIGIT, "b": {"$ref": "#/properties/a"}}, "required": ["a", "b"],
        "additionalProperties": False,
    },
    "list": defs(ref("l"), l={"anyOf": [NULL, record(head=DIGIT, tail=ref("l"))]}),
    "tree": defs(ref("t"), t=record(["v"], v=DIGIT, left=ref("t"), right=ref("t"))),
    "tree of arrays": defs(ref("t"), t=array(ref("t"), 0, 2)),
    "children": defs(ref("n"), n=record(["name"], name=text(1, 3), children=array(ref("n"), 0, 2))),
    "two that name each other": defs(
        ref("a"), a=record([], b=ref("b")), b=record([], a=ref("a"), n=DIGIT)
    ),
    "itself": {"type": "object", "properties": {"next": {"$ref": "#"}}, "additionalProperties": False},
    "expression": defs(
        ref("e"),
        e={"anyOf": [DIGIT, record(op={"enum": ["+", "-", "*"]}, left=ref("e"), right=ref("e"))]},
    ),
    "map of itself": {"type": "object", "additionalProperties": {"$ref": "#"}, "maxProperties": 2},
    "JSON": defs(
        ref("j"),
        j={"anyOf": [NULL, BOOL, DIGIT, text(0, 3), array(ref("j"), 0, 2)]},
    ),
}  # fmt: skip
REAL: dict[str, Any] = {
    "person": record(name=text(1, 10), age=whole(0, 130), email={"type": "string", "format": "email", "maxLength": 20}),
    "address": record(
        ["street", "city", "zip"], street=text(1, 10), city=text(1, 8), zip={"type": "string", "pattern": "^[0-9]{5}$"},
        country={"enum": ["DE", "FR", "JP", "US"]},
    ),
    "order": record(
        id={"type": "string", "format": "uuid"}, placed={"type": "string", "format": "date"},
        lines=array(record(sku={"type": "string", "pattern": "^[A-Z]{3}-[0-9]{3}$"}, n=whole(1, 99)), 1, 2),
        total={"type": "number", "minimum": 0, "maximum": 10000},
    ),
    "weather call": record(name={"const": "get_weather"}, arguments=record(["city"], city=text(1, 8),
                           unit={"enum": ["celsius", "fahrenheit"]})),
    "one of several calls": {"anyOf": [
        record(name={"const": "search"}, arguments=record(query=text(1, 10), limit=whole(1, 10))),
        record(name={"const": "open"}, arguments=record(url={"type": "string", "pattern": "^https://[a-z]{1,8}\\.org$"})),
        record(name={"const": "done"}, arguments=record()),
    ]},
    "calls in a list": array({"anyOf": [record(f={"const": "a"}, x=DIGIT), record(f={"const": "b"})]}, 1, 3),
    "sentiment": record(label={"enum": ["positive", "neutral", "negative"]},
                        confidence={"type": "number", "minimum": 0, "maximum": 1}),
    "entities": record(entities=array(record(text=text(1, 6), kind={"enum": ["person", "place", "date"]}), 0, 3)),
    "quiz": record(question=text(1, 20), options=array(text(1, 5), 4, 4), answer=whole(0, 3)),
    "chess move": record(move={"type": "string", "pattern": "^[a-h][1-8][a-h][1-8][qrbn]?$"}),
    "colour": record(r=whole(0, 255), g=whole(0, 255), b=whole(0, 255), a={"type": "number", "minimum": 0,
                     "maximum": 1}),
    "geo point": {"type": "object", "properties": {
        "type": {"const": "Point"},
        "coordinates": {"type": "array", "items": {"type": "number", "minimum": -90, "maximum": 90}, "minItems": 2,
                        "maxItems": 2},
    }, "required": ["type", "coordinates"], "additionalProperties": False},
    "config": record(
        ["version"], version={"const": 2}, debug=BOOL, level={"enum": ["info", "warn"]},
        limits=record([], cpu=whole(1, 64), memory={"type": "string", "pattern": "^[0-9]{1,4}(Ki|Mi|Gi)$"}),
        env={"type": "object", "additionalProperties": text(0, 4), "maxProperties": 2},
    ),
    "table": record(columns=array(text(1, 4), 2, 2), rows=array(array({"type": ["integer", "null"], "minimum": 0,
                    "maximum": 99}, 2, 2), 1, 3)),
    "file tree": defs(ref("f"), f={"anyOf": [record(name=text(1, 4), size=whole(0, 999)),
                      record(dir=text(1, 4), files=array(ref("f"), 0, 2))]}),
    "calendar": record(
        start={"type": "string", "format": "date-time"}, duration={"type": "string", "format": "duration"}, online=BOOL,
        guests=array({"type": "string", "format": "email", "maxLength": 16}, 0, 2),
    ),
    "network": record(host={"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]},
                      port=whole(1, 65535)),
    "thought first": record(reasoning=text(1, 30), answer={"enum": ["A", "B", "C", "D"]}),
    "edit": array({"anyOf": [record(op={"const": "add"}, path=text(1, 5), value=DIGIT),
                             record(op={"const": "remove"}, path=text(1, 5))]}, 1, 2),
    "recipe": record(title=text(1, 12), minutes=whole(1, 240), steps=array(text(1, 10), 1, 3),
                     vegan={"type": ["boolean", "null"]}),
}  # fmt: skip

KINDS = {
    "scalar": SCALARS, "number": NUMBERS, "string": STRINGS, "array": ARRAYS, "object": OBJECTS, "combined": COMBINED,
    "reference": REFERENCES, "real": REAL,
}  # fmt: skip
UNSUPPORTED: dict[str, Any] = {
    "not": {"not": STRING},
    "if": {"if": STRING, "then": {"maxLength": 3}},
    "contains": {"type": "array", "contains": STRING},
    "uniqueItems": {"type": "array", "uniqueItems": True},
    "dependentRequired": {"type": "object", "dependentRequired": {"a": ["b"]}},
    "dependentSchemas": {"type": "object", "dependentSchemas": {"a": True}},
    "dependencies": {"type": "object", "dependencies": {"a": ["b"]}},
    "propertyNames": {"type": "object", "propertyNames": {"maxLength": 3}},
    "unevaluatedProperties": {"type": "object", "unevaluatedProperties": False},
    "unevaluatedItems": {"type": "array", "unevaluatedItems": False},
    "$dynamicRef": {"$dynamicRef": "#a"},
    "within": array({"not": STRING}),
    "in a definition": defs(ref("a"), a={"not": STRING}),
    "unknown format": {"type": "string", "format": "iri"},
    "look-ahead": {"type": "string", "pattern": "(?=a)b"},
    "back reference": {"type": "string", "pattern": r"(a)\1"},
    "word boundary": {"type": "string", "pattern": r"\ba"},
    "oneOf that overlaps": {"oneOf": [INT, NUMBER]},
    "oneOf of open objects": {"oneOf": [{"type": "object"}, {"type": "object", "required": ["a"]}]},
    "minProperties of optional members": {"type": "object", "properties": {"a": DIGIT, "b": DIGIT}, "minProperties": 2},
    "patterns that overlap": {"type": "object", "patternProperties": {"^a": DIGIT, "b$": BOOL}},
    "another document": {"$ref": "https://example.com/schema.json"},
    "no definition": {"$ref": "#/$defs/none"},
    "unknown draft": {"$schema": "https://example.com/draft"},
    "said to be lenient": {"x-guidance": {"lenient": True}, "not": STRING},
    "steps without bound": {"type": "integer", "multipleOf": 1_000_003},
}
IMPOSSIBLE: dict[str, Any] = {
    "false": {"allOf": [False]},
    "range": whole(3, 2),
    "length": text(3, 2),
    "items": array(DIGIT, 3, 2),
    "enum": {"enum": []},
    "anyOf": {"anyOf": []},
    "types": {"allOf": [STRING, INT]},
    "required": {"type": "object", "properties": {"a": False}, "required": ["a"]},
    "type": {"type": "strin"},
    "bound": {"type": "integer", "minimum": "a"},
    "members": {"properties": []},
    "multiple": {"type": "integer", "multipleOf": 0},
    "pattern": {"type": "string", "pattern": "("},
}

SCHEMAS = {f"{kind}: {name}": schema for kind, schemas in KINDS.items() for name, schema in schemas.items()}

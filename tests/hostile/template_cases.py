"""Chat templates that try to get out, to take everything, or that make no sense: refused when they are used, soon."""

from gguf_builder import STR, string
from hostile import metadata, section

from subbyte.errors import FormatError, TemplateError

LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}x"
HOSTILE = {
    "syntax": "line one\n{% if %}",
    "unknown tag": "{% nonsense %}",
    "unknown filter": "{{ 1 | nonsense }}",
    "class walk": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "attr filter": "{{ messages | attr('__class__') }}{{ (messages | attr('__class__')).x }}",
    "format walk": "{{ '{0.__class__.mro}'.format(messages) }}",
    "globals": "{{ cycler.__init__.__globals__.os }}",
    "macro internals": "{% macro m() %}{% endmacro %}{{ m.__call__.__globals__ }}{{ m._func.__globals__ }}",
    "CVE-2024-34359": "{% for x in ().__class__.__base__.__subclasses__() %}{% if 'warning' in x.__name__ %}"
    "{{ x()._module.__builtins__['__import__']('os').popen('id').read() }}{% endif %}{% endfor %}",
    "CVE-2024-56326": "{% set f = '{0.__class__.__mro__}'.format %}{{ f(messages) }}",
    "CVE-2024-56326 by map": "{{ ['{0.__class__.__mro__}'] | map(attribute='format') | first | string }}"
    "{{ (['{0.__class__.__mro__}'] | map(attribute='format') | first)(messages) }}",
    "CVE-2025-27516": "{{ ('{0.__class__.__mro__}' | attr('format'))(messages) }}",
    "CVE-2026-5760": "{{ self.__init__.__globals__.__builtins__.__import__('os').popen('id').read() }}",
    "function globals": "{{ raise_exception.__globals__.x }}",
    "time's globals": "{{ strftime_now.__globals__.x }}",
    "joiner": "{{ joiner.__init__.__globals__.os }}",
    "frames": "{{ messages.__iter__.gi_frame.f_back }}",
    "loop internals": "{% for m in messages %}{{ loop._to_iterator.__globals__.x }}{% endfor %}",
    "nested range": LOOP + "{% endfor %}" * 3,
    "silent nested range": LOOP[:-1] + "{% endfor %}" * 3,
    "range": "{{ range(10**9) | list }}",
    "range sum": "{% for a in range(1000000000) %}{% endfor %}",
    "lipsum": "{{ lipsum(n=1000000000) }}",
    "power": "{{ 9**(9**9) }}",
    "huge float power": "{{ 9.9**9999 }}",
    "squaring": "{% set ns = namespace(x=9) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "string product": "{{ 'a' * 10000000000 }}",
    "product string": "{{ 10000000000 * 'a' }}",
    "list product": "{{ [1] * 10000000000 }}",
    "tuple product": "{{ (1, 2) * 10000000000 }}",
    "center": "{{ 'a'.center(10000000000) }}",
    "center filter": "{{ 'a' | center(10000000000) }}",
    "ljust": "{{ 'a'.ljust(10000000000) }}",
    "zfill": "{{ 'a'.zfill(10000000000) }}",
    "expandtabs": "{{ '\t'.expandtabs(10000000000) }}",
    "indent": "{{ 'a\nb' | indent(10000000000) }}",
    "indent text": "{{ 'a\nb' | indent('x' * 10000000) }}",
    "percent width": "{{ '%10000000000d' % 1 }}",
    "percent star": "{{ '%*d' % (1000000000, 1) }}",
    "format filter": "{{ '%10000000000d' | format(1) }}",
    "brace width": "{{ '{:>10000000000}'.format(1) }}",
    "brace computed": "{{ '{:>{}}'.format(1, 1000000000) }}",
    "brace precision": "{{ '{:.999999999f}'.format(1.0) }}",
    "format_map": "{{ '{a:>9999999999}'.format_map({'a': 1}) }}",
    "repeated format": "{% set x = 'a' * 1000000 %}{{ ('{0}' * 100000).format(x) }}",
    "concat": "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "plus": "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "list plus": "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "replace": "{% set ns = namespace(x='aa') %}{% for i in range(99) %}{% set ns.x = ns.x.replace('a', ns.x) %}"
    "{% endfor %}",
    "replace filter": "{% set ns = namespace(x='aa') %}{% for i in range(99) %}{% set ns.x = ns.x|replace('a', ns.x) %}"
    "{% endfor %}",
    "join": "{% set ns = namespace(x='aa') %}{% for i in range(99) %}{% set ns.x = ns.x.join(ns.x) %}{% endfor %}",
    "join filter": "{% set ns = namespace(x='aa') %}{% for i in range(99) %}{% set ns.x = ns.x | join(ns.x) %}"
    "{% endfor %}",
    "block set": "{% set ns = namespace(x='aa') %}{% for i in range(99) %}{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}"
    "{% set ns.x = y %}{% endfor %}",
    "shared lists": "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"
    "{{ ns.x | tojson }}",
    "shared dicts": "{% set ns = namespace(x=1) %}{% for i in range(99) %}{% set ns.x = {'a': ns.x, 'b': ns.x} %}"
    "{% endfor %}{{ ns.x }}",
    "shared tuples": "{% set ns = namespace(x=1) %}{% for i in range(99) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}"
    "{{ ns.x == ns.x }}",
    "shared by dict()": "{% set ns = namespace(x=1) %}{% for i in range(99) %}{% set ns.x = dict(a=ns.x, b=ns.x) %}"
    "{% endfor %}{{ ns.x }}",
    "shared namespaces": "{% set ns = namespace(x=1) %}{% for i in range(99) %}"
    "{% set ns.x = namespace(a=ns.x, b=ns.x) %}{% endfor %}{{ ns.x }}",
    "deep list": "{% set ns = namespace(x=1) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}",
    "json of repeats": "{{ ([['a' * 1000] * 1000] * 1000) | tojson }}",
    "json indent": "{{ [[[1]]] | tojson(indent=1000000000) }}",
    "map": "{{ range(99999) | map('replace', '', 'a' * 10000) | list }}",
    "to_bytes": "{{ (1).to_bytes(10000000000, 'big') }}",
    "long date": "{{ strftime_now('%A' * 1000000) }}",
    "recursive macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "branching macro": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "recursive loop": "{% for a in [[1], [2]] recursive %}{{ loop([[1], [2]]) }}{% endfor %}",
    "parentheses": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "brackets": "{{ " + "[" * 50_000 + " }}",
    "nested for": "{% for a in [1] %}" * 30 + "{% endfor %}" * 30,
    "long sum": "{{ 1" + " + 1" * 20_000 + " }}",
    "include": "{% include 'x' %}",
    "import": "{% import 'x' as x %}",
    "extends": "{% extends 'x' %}",
    "raise": "{{ raise_exception('no\x1b[31m way') }}",
    "undefined": "{{ messages[0].nosuch.deep }}",
    "none": "{{ none + 'a' }}",
    "mutates": "{% set x = messages.append(1) %}",
    "mutates message": "{% set x = messages[0].update({'content': 'b'}) %}",
    "divides": "{{ 1 / 0 }}",
    "large": "x" * 10_000_000,
}

TEMPLATE = "tokenizer.chat_template"
NOT_TEXT = [
    ("a number", metadata({TEMPLATE: 7}), FormatError, "allowed is a string"),
    ("an array", metadata({TEMPLATE: ["a", "b"]}), FormatError, "allowed is a string"),
    ("no UTF-8", metadata({TEMPLATE: (STR, string(b"\xff{{ messages[0].content }}\xfe"))}), None),
    ("empty", metadata({TEMPLATE: ""}), None),
]
CASES = [
    *section("T", [(what, metadata({TEMPLATE: source}), TemplateError) for what, source in HOSTILE.items()]),
    *section("U", NOT_TEXT),
]

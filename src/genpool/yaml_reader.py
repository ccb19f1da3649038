"""YAML that a person wrote, read safely and with the place of every value.

No tags, no anchors, no aliases; bounded size and depth; a key given twice is an error. The
reader keeps scalars as they were typed, with their line, so that `1.10`, `010`, `no` and dates
stay text where text is meant and every complaint can name file and line. Problems are
collected, not raised one by one: see `Problems`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import yaml

from genpool.errors import InputError, Problem, UnsupportedFormat, nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from genpool.canonical import Json

MAX_BYTES: Final = 8 * 1024 * 1024
"""The largest YAML text that is read."""
MAX_DEPTH: Final = 32
"""The deepest nesting that is read."""

_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_CONSTANTS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None, "~": None, "": None}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as it was typed."""

    text: str
    line: int
    plain: bool = True
    """Whether it was typed without quotation marks."""

    def value(self) -> Json:
        """Return the value by the YAML 1.2 core schema: numbers, booleans, null; else text."""
        if not self.plain:
            return self.text
        if self.text in _CONSTANTS:
            return _CONSTANTS[self.text]
        if _INTEGER.fullmatch(self.text):
            return int(self.text) if len(self.text) < 20 else self.text
        if _FLOAT.fullmatch(self.text):
            return float(self.text)
        return self.text

    @property
    def is_null(self) -> bool:
        """Whether nothing was typed, or null."""
        return self.plain and self.text in {"", "~", "null"}


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Node, ...]
    line: int

    def __iter__(self) -> Iterator[Node]:
        return iter(self.items)

    def value(self) -> Json:
        """Return the list of its items' values."""
        return [item.value() for item in self.items]


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping of text to nodes, in the order of the file."""

    entries: dict[str, Node]
    line: int
    key_lines: dict[str, int]

    def value(self) -> Json:
        """Return the mapping with its entries' values."""
        return {key: node.value() for key, node in self.entries.items()}

    def line_of(self, key: str) -> int:
        """Return the line of a key."""
        return self.key_lines.get(key, self.line)


Node = Scalar | Items | Table


@dataclass(slots=True)
class Problems:
    """Collects what is wrong in one file, to be raised together."""

    file: str
    found: list[Problem] = field(default_factory=list)
    first_line: int = 1
    """The line of the file at which the text that is read begins."""

    def add(self, message: str, line: int | None = None, hint: str | None = None) -> None:
        """Note a problem; `line` is counted within the text that was read."""
        place = None if line is None else line + self.first_line - 1
        self.found.append(Problem(message, self.file, place, hint))

    def raise_if_any(self, error: type[InputError], what: str) -> None:
        """Raise one error with every problem found, if there is any."""
        if self.found:
            raise summary(error, what, self.found)

    # -- typed access: each returns None (or what was asked for) and notes what is wrong --

    def table(self, node: Node | None, what: str) -> Table | None:
        """Return a node as a table."""
        if isinstance(node, Table):
            return node
        if node is not None:
            self.add(f"{what} must be a mapping (key: value)", node.line)
        return None

    def known_keys(self, table: Table, known: Collection[str], what: str) -> None:
        """Note every key that is not known, with the nearest that is."""
        for key in table.entries:
            if key not in known:
                self.add(f"{what}: unknown key {key!r}", table.line_of(key), nearest(key, known))

    def text(self, table: Table, key: str, what: str) -> str | None:
        """Return an optional entry as the text that was typed."""
        node = table.entries.get(key)
        if node is None:
            return None
        if not isinstance(node, Scalar):
            self.add(f"{what}: {key} must be text", node.line)
            return None
        if node.text and node.is_null:
            self.add(
                f"{what}: {key} is {node.text}, which is no text", node.line, "leave the key out, or quote the value"
            )
            return None
        return node.text

    def whole_number(self, table: Table, key: str, what: str, least: int = 1) -> int | None:
        """Return an optional entry as a whole number."""
        node = table.entries.get(key)
        if node is None:
            return None
        value = node.value() if isinstance(node, Scalar) else None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**31:
            typed = repr(node.text) if isinstance(node, Scalar) else "a list or mapping"
            most = f" to {2**31 - 1}" if typed.strip("'").isdecimal() and len(typed) > 10 else ""
            self.add(f"{what}: {key} is {typed}; it must be a whole number from {least}{most}", node.line)
            return None
        return value

    def number(self, table: Table, key: str, what: str) -> float | None:
        """Return an optional entry as a number of zero or more."""
        node = table.entries.get(key)
        if node is None:
            return None
        value = node.value() if isinstance(node, Scalar) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            self.add(f"{what}: {key} must be a number of 0 or more", node.line)
            return None
        return float(value)

    def flag(self, table: Table, key: str, what: str) -> bool | None:
        """Return an optional entry as true or false."""
        node = table.entries.get(key)
        if node is None:
            return None
        value = node.value() if isinstance(node, Scalar) else None
        if not isinstance(value, bool):
            self.add(f"{what}: {key} must be true or false", node.line)
            return None
        return value


def summary(error: type[InputError], what: str, found: list[Problem]) -> InputError:
    """Return one error for every problem found in one thing that a person wrote."""
    count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    return error(f"{what}: {count}", problems=found)


def read_yaml(text: str, problems: Problems) -> Node | None:
    """Return the tree of a YAML text, or None where it cannot be read (the reason is noted).

    An empty text gives an empty table.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        problems.add(f"the text is larger than {MAX_BYTES // 2**20} MiB")
        return None
    try:
        return _build(text, problems)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part)
        problems.add(f"not readable as YAML: {said}", mark.line + 1 if mark else None, _yaml_hint(text, mark))
    except (yaml.YAMLError, ValueError) as error:
        problems.add(f"not readable as YAML: {error}".splitlines()[0])
    return None


def _yaml_hint(text: str, mark: yaml.Mark | None) -> str | None:
    """Return what would be right at a tab, or where YAML reserves the character that a value begins with."""
    lines = text.split("\n")
    rest = lines[mark.line][mark.column :] if mark and mark.line < len(lines) else ""
    if mark and mark.line < len(lines) and (rest.startswith("\t") or lines[mark.line].lstrip(" ").startswith("\t")):
        return "there is a tab: YAML is indented with spaces"
    return "put it in quotation marks: '@file:…'" if rest.startswith("@") else None


def check_format(table: Table, expected: str, problems: Problems) -> None:
    """Check the `format` key of a file against what this version reads.

    Raises:
        UnsupportedFormat: The file has a newer major version of the same format.
    """
    node = table.entries.get("format")
    name, _, version = expected.partition("/")
    if not isinstance(node, Scalar):
        problems.add("the key `format` is missing", table.line, f"write `format: {expected}` at the top")
        return
    typed, _, typed_version = node.text.partition("/")
    if node.text == expected:
        return
    if typed == name and is_version(typed_version) and int(typed_version) > int(version):
        raise UnsupportedFormat(
            f"{problems.file}: format {node.text} is newer than this genpool reads ({expected})",
            hint="use a newer genpool for this pool; nothing was changed",
        )
    problems.add(f"format is {node.text!r}", node.line, f"it must be {expected}")


def is_version(text: str) -> bool:
    """Return whether a text is the major version of a format: a whole number from 1."""
    return _VERSION.fullmatch(text) is not None


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not been read yet."""

    line: int
    is_table: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Node] = field(default_factory=dict)
    key_lines: dict[str, int] = field(default_factory=dict)
    key: Scalar | None = None

    def close(self) -> Node:
        if self.is_table:
            return Table(self.entries, self.line, self.key_lines)
        return Items(tuple(self.items), self.line)


def _build(text: str, problems: Problems) -> Node | None:
    """Build the tree from the parser's events; iterative, so depth cannot exhaust the stack."""
    stack: list[_Open] = []
    root: Node | None = None
    documents = 0
    for event in yaml.parse(text, Loader=_LOADER):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                problems.add("a second document (`---`) is not read", line)
                return None
        node = _node_of(event, line, stack, problems)
        if node is None:
            if problems.found:
                return None
            continue
        if not stack:
            root = node
        else:
            _attach(stack[-1], node, problems)
    return root if root is not None else Table({}, 1, {})


def _node_of(event: yaml.Event, line: int, stack: list[_Open], problems: Problems) -> Node | None:
    """Return the node that an event completes, or None where it completes none."""
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        problems.add("anchors and aliases (& and *) are not allowed", line)
    elif getattr(event, "tag", None) and getattr(event, "tag", None) != "!":
        problems.add("tags (!) are not allowed", line)
    elif isinstance(event, yaml.ScalarEvent):
        return Scalar(event.value, line, plain=not event.style)
    elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
        if len(stack) >= MAX_DEPTH:
            problems.add(f"nested deeper than {MAX_DEPTH} levels", line)
        stack.append(_Open(line, isinstance(event, yaml.MappingStartEvent)))
    elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
        return stack.pop().close()
    return None


def _attach(parent: _Open, node: Node, problems: Problems) -> None:
    """Put a complete node into the list or mapping that is open."""
    if not parent.is_table:
        parent.items.append(node)
    elif parent.key is None:
        if not isinstance(node, Scalar):
            problems.add("a key must be plain text", node.line)
            node = Scalar("", node.line)
        if node.text in parent.entries:
            problems.add(f"the key {node.text!r} is given twice", node.line)
        parent.key = node
    else:
        parent.entries[parent.key.text] = node
        parent.key_lines[parent.key.text] = parent.key.line
        parent.key = None

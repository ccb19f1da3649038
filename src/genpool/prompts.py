"""Templates and their rendering: strict and sandboxed.

A template's author is trusted; what is rendered into it (concepts, rows, model output) is data
and never becomes a template. An undefined name is an error that names file and line. Includes are by
literal name, relative to templates/, so that a template's fingerprint can hold every text it is made of.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from genpool.combos import check_spelling, list_names, read_text
from genpool.errors import InputError, InvalidTemplate, Problem, nearest
from genpool.layout import check_name
from genpool.parsers import PARSERS, Parser, Scale
from genpool.records import MODE_COPY, MODE_LLM
from genpool.yaml_reader import Items, Problems, Scalar, Table, check_format, read_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from genpool.canonical import Json
    from genpool.layout import PoolLayout

ENDING: Final = ".j2"
FORMAT: Final = "genpool.template/1"
_FENCE: Final = "---"


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt template with its front matter."""

    stage: str
    template_id: str
    file: str
    """Its path, for messages."""
    source: str
    """The text without the front matter."""
    first_line: int = 1
    """The line of the file at which `source` begins."""
    mode: str = MODE_LLM
    parser: Parser = PARSERS["text"]
    scale: Scale | None = None
    system: str | None = None
    """The source of the system message."""
    max_tokens: int | None = None
    front: Mapping[str, Json] = field(default_factory=dict)
    """The front matter as parsed."""
    includes: Mapping[str, str] = field(default_factory=dict)
    """Name to text of every template that this one includes, through others too."""

    def as_source(self) -> dict[str, Json]:
        """Return the pre-image of the `template` fingerprint."""
        return {"source": self.source, "front": dict(self.front), "includes": dict(self.includes)}


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent to a model."""

    user: str
    system: str | None = None

    def as_text(self) -> str:
        """Return the prompt as one text, for prompt.txt."""
        return self.user if self.system is None else f"[system]\n{self.system}\n\n[user]\n{self.user}"


# --- reading --------------------------------------------------------------------------------------


def template_ids(layout: PoolLayout, stage: str) -> list[str]:
    """Return the names of a stage's templates, sorted by code point."""
    return list_names(layout.templates / stage, ENDING)


def read_template(layout: PoolLayout, stage: str, template_id: str) -> Template:
    """Read a template with its front matter and everything that it includes.

    Raises:
        InvalidTemplate: There is no such template, its front matter or its syntax is wrong, or it includes
            something that cannot be had.
    """
    path = layout.templates / check_name(stage, "stage") / f"{check_name(template_id, 'template')}{ENDING}"
    known = template_ids(layout, stage)
    if template_id not in known:
        raise InvalidTemplate(
            f"no template of stage {stage!r} is named {template_id!r} ({path} does not exist)",
            hint=nearest(template_id, known),
        )
    check_spelling(template_id, known, f"templates of stage {stage!r}")
    text = read_text(path)
    head, source, first_line = _split(text, str(path))
    problems = Problems(str(path), first_line=2)
    table = problems.table(read_yaml(head, problems), "the front matter") or Table({}, 1, {})
    template = _from_front(table, stage, template_id, str(path), source, first_line, problems)
    problems.raise_if_any(InvalidTemplate, f"template {stage}/{template_id} is not usable")
    return _with_includes(layout, template)


def _split(text: str, file: str) -> tuple[str, str, int]:
    """Return front matter, source and the line at which the source begins."""
    lines = text.splitlines(keepends=True)
    if not lines or lines[0].strip() != _FENCE:
        return "", text, 1
    for number, line in enumerate(lines[1:], start=1):
        if line.strip() == _FENCE:
            return "".join(lines[1:number]), "".join(lines[number + 1 :]), number + 2
    raise InvalidTemplate(
        f"{file}: the front matter has no end", hint="close it with a line of three hyphens", problems=[]
    )


def _from_front(
    table: Table, stage: str, template_id: str, file: str, source: str, first_line: int, problems: Problems
) -> Template:
    """Return the template that a front matter describes."""
    what = "the front matter"
    problems.known_keys(table, ("format", "mode", "parser", "scale", "system", "max_tokens"), what)
    if "format" in table.entries:
        check_format(table, FORMAT, problems)
    mode = problems.text(table, "mode", what) or MODE_LLM
    if mode not in {MODE_LLM, MODE_COPY}:
        problems.add(f"mode is {mode!r}", table.line_of("mode"), f"one of {MODE_LLM}, {MODE_COPY}")
    name = problems.text(table, "parser", what) or "text"
    if name not in PARSERS:
        problems.add(f"no parser is named {name!r}", table.line_of("parser"), nearest(name, PARSERS))
    parser = PARSERS.get(name, PARSERS["text"])
    scale = _scale(table, problems)
    if parser.scores and scale is None and "scale" not in table.entries:
        problems.add(
            f"the parser {name} reads a score, so the template needs a scale",
            table.line_of("parser"),
            "for instance `scale: [0, 9]`",
        )
    return Template(
        stage=stage,
        template_id=template_id,
        file=file,
        source=source,
        first_line=first_line,
        mode=mode,
        parser=parser,
        scale=scale,
        system=problems.text(table, "system", what),
        max_tokens=problems.whole_number(table, "max_tokens", what),
        front={key: node.value() for key, node in table.entries.items()},
    )


def _scale(table: Table, problems: Problems) -> Scale | None:
    node = table.entries.get("scale")
    if node is None:
        return None
    ends = [item.value() for item in node if isinstance(item, Scalar)] if isinstance(node, Items) else []
    numbers = [end for end in ends if isinstance(end, int | float) and not isinstance(end, bool)]
    if len(numbers) != 2 or len(ends) != 2 or not numbers[0] < numbers[1]:
        problems.add("scale must be two numbers, the least and the most", node.line, "for instance `scale: [0, 9]`")
        return None
    return float(numbers[0]), float(numbers[1])


# --- the environment ------------------------------------------------------------------------------


def _environment(loader: Callable[[str], str] | None = None) -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        loader=jinja2.FunctionLoader(loader) if loader else None,
    )


def _with_includes(layout: PoolLayout, template: Template) -> Template:
    """Return a template with the texts of everything it includes."""
    found: dict[str, str] = {}
    waiting = [(template.file, template.source, template.first_line)]
    if template.system is not None:
        waiting.append((template.file, template.system, 1))
    while waiting:
        file, source, first_line = waiting.pop()
        for name in meta.find_referenced_templates(_parse(source, file, first_line)):
            if name is None:
                raise InvalidTemplate(f"{file}: includes must be by a literal name, not by an expression")
            if name not in found:
                path = layout.templates.joinpath(
                    *(check_name(part, f"{file}: the included") for part in name.split("/"))
                )
                found[name] = _included(path, file)
                waiting.append((str(path), found[name], 1))
    included = dict(sorted(found.items()))
    return Template(
        **{key: getattr(template, key) for key in Template.__dataclass_fields__ if key != "includes"},
        includes=included,
    )


def _included(path: Any, file: str) -> str:
    if path.parent.is_symlink():
        raise InvalidTemplate(f"{file}: {path.parent} is a link; links are not followed")
    try:
        return read_text(path)
    except InputError as error:
        raise InvalidTemplate(f"{file}: includes what cannot be had: {error.message}", hint=error.hint) from None


def _parse(source: str, file: str, first_line: int) -> nodes.Template:
    try:
        return _environment().parse(source)
    except jinja2.TemplateSyntaxError as error:
        problem = Problem(f"syntax error: {error.message}", file, error.lineno + first_line - 1)
        raise InvalidTemplate(f"{file} is not usable: 1 problem", problems=[problem]) from None
    except RecursionError:
        raise InvalidTemplate(f"{file}: nested too deeply") from None


# --- rendering ------------------------------------------------------------------------------------


class Renderer:
    """Renders one template; compiled once.

    Args:
        template: The template.

    Raises:
        InvalidTemplate: Its syntax is wrong.
    """

    def __init__(self, template: Template) -> None:
        self.template = template
        environment = _environment(dict(template.includes).get)  # type: ignore[arg-type]  # None: not found
        _parse(template.source, template.file, template.first_line)
        self._user = environment.from_string(template.source)
        self._system = environment.from_string(template.system) if template.system is not None else None

    def render(self, context: Mapping[str, Any]) -> Prompt:
        """Return the prompt for a context.

        Raises:
            InvalidTemplate: A name is undefined or an expression fails; file and line are named.
        """
        system = None if self._system is None else self._rendered(self._system, context, 0).strip()
        return Prompt(self._rendered(self._user, context, self.template.first_line - 1).strip(), system)

    def _rendered(self, compiled: jinja2.Template, context: Mapping[str, Any], offset: int) -> str:
        try:
            return compiled.render(context)
        except Exception as error:  # noqa: BLE001 - whatever an expression of the template raises
            line = _line_of(error)
            known = ", ".join(sorted(context))
            problem = Problem(
                f"{type(error).__name__}: {error}",
                self.template.file,
                None if line is None else line + offset,
                f"known here: {known}",
            )
            raise InvalidTemplate(f"{self.template.file} cannot be rendered: 1 problem", problems=[problem]) from None


def _line_of(error: Exception) -> int | None:
    """Return the template line at which rendering failed, from the traceback that Jinja rewrites."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename in {"<template>", "<unknown>"}]
    return lines[-1] if lines else None

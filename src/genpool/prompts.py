"""Templates and their rendering: strict and sandboxed.

A template's author is trusted; what is rendered into it (concepts, rows, model output) is data
and never becomes a template. An undefined name is an error that names file and line. Includes are by
literal name, relative to templates/, so that a template's fingerprint can hold every text it is made of.
"""

from __future__ import annotations

import json
import re
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path
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
    from collections.abc import Callable, Mapping, Sequence

    from genpool.canonical import Json
    from genpool.layout import PoolLayout
    from genpool.parsers import Constraint
    from genpool.stages import Stage

ENDING: Final = ".j2"
DEFAULT_TEMPLATE: Final = "default"
"""The template of a stage that has no template axis."""
SCORING_HINT: Final = "name one in its front matter, for instance `parser: json_score` with `scale: [0, 9]`"
FORMAT: Final = "genpool.template/1"
_FENCE: Final = "---"
_NOT_PLAIN: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What JSON allows in a text as it is, and YAML does not, or takes for the end of a line."""
_LARGEST: Final = 2**53 - 1  # whole numbers up to it are exact in canonical JSON


_Loaded = tuple[str, str | None, None]
"""What Jinja's loader gives for a name: text, file, and no way to tell whether it is still current."""


@dataclass(frozen=True, slots=True)
class _Source:
    """A text in the language of templates, and where it stands."""

    text: str
    file: str
    first_line: int = 1
    """The line of the file at which the text begins."""
    one_place: bool = False
    """Whether all of it is said to stand at that line, as a system message folded by YAML is."""

    def line(self, number: int) -> int:
        """Return the line of the file for a line of the text."""
        return self.first_line if self.one_place else self.first_line + number - 1


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
    system_line: int = 1
    """The line of the file at which the system message is given."""
    max_tokens: int | None = None
    front: Mapping[str, Json] = field(default_factory=dict)
    """The front matter as parsed."""
    includes: Mapping[str, str] = field(default_factory=dict)
    """Name to text of every template that this one includes, through others too."""

    @property
    def constraint(self) -> Constraint | None:
        """What an answer should be kept to, where the parser reads a score on a scale."""
        return self.parser.constraint(self.scale) if self.parser.constraint and self.scale else None

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


def lack_of_score(stage: Stage, template: Template) -> str | None:
    """Return what is wrong where a stage judges and its template's parser reads no score; None where nothing is.

    A judgement without a score would be bought, or promoted, and count for nothing.
    """
    if not stage.judges or template.parser.scores:
        return None
    return f"the stage judges, but {template.template_id!r} has no parser that reads a score"


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
    return parse_template(layout, stage, template_id, read_text(path, layout.root))


def parse_template(layout: PoolLayout, stage: str, template_id: str, text: str) -> Template:
    """Return the template that a text is, as if it stood in its file; for errors see `read_template`."""
    path = layout.templates / stage / f"{template_id}{ENDING}"
    head, source, first_line = _split(text, str(path))
    problems = Problems(str(path), first_line=2)
    table = problems.table(read_yaml(head, problems), "the front matter") or Table({}, 1, {})
    template = _from_front(table, stage, template_id, str(path), source, first_line, problems)
    problems.raise_if_any(InvalidTemplate, f"template {stage}/{template_id} is not usable")
    return _with_includes(layout, template)


def template_text(source: str, front: Mapping[str, Json]) -> str:
    """Return the text of a template's file; `parse_template` gives source and front matter back.

    Args:
        source: The text without the front matter.
        front: The front matter; every value is written as JSON, which is YAML.
    """
    first = source.splitlines()[:1]
    if not front and not source.startswith("\ufeff") and not (first and first[0].strip() == _FENCE):
        return source
    head = [f"{key}: {_as_yaml(value)}\n" for key, value in front.items()]
    return "".join([f"{_FENCE}\n", *head, f"{_FENCE}\n", source])


def _as_yaml(value: Json) -> str:
    written = json.dumps(value, ensure_ascii=False)
    return _NOT_PLAIN.sub(lambda one: f"\\u{ord(one[0]):04x}", written)


def _split(text: str, file: str) -> tuple[str, str, int]:
    """Return front matter, source and the line at which the source begins."""
    lines = text.splitlines(keepends=True)
    if not lines or lines[0].strip() != _FENCE:
        return "", text, 1
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() == _FENCE:  # an indented one is part of a text, for instance of a system message
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
        system_line=table.line_of("system") + problems.first_line - 1,
        max_tokens=problems.whole_number(table, "max_tokens", what),
        front={key: node.value() for key, node in table.entries.items()},
    )


def _scale(table: Table, problems: Problems) -> Scale | None:
    node = table.entries.get("scale")
    if node is None:
        return None
    ends = [item.value() for item in node if isinstance(item, Scalar)] if isinstance(node, Items) else []
    numbers = [end for end in ends if isinstance(end, int | float) and not isinstance(end, bool)]
    whole = isinstance(node, Items) and len(node.items) == len(numbers) == 2
    if not whole or not numbers[0] < numbers[1] or any(abs(number) > _LARGEST for number in numbers):
        problems.add("scale must be two numbers, the least and the most", node.line, "for instance `scale: [0, 9]`")
        return None
    return float(numbers[0]), float(numbers[1])


# --- the environment ------------------------------------------------------------------------------


def _environment(loader: Callable[[str], _Loaded | None] | None = None) -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        loader=jinja2.FunctionLoader(loader) if loader else None,
    )


def _sources(template: Template) -> list[_Source]:
    """Return a template's own texts: the prompt, and the system message where there is one."""
    own = [_Source(template.source, template.file, template.first_line)]
    if template.system is not None:
        own.append(_Source(template.system, template.file, template.system_line, one_place=True))
    return own


def _with_includes(layout: PoolLayout, template: Template) -> Template:
    """Return a template with the texts of everything it includes."""
    found: dict[str, str] = {}
    waiting = _sources(template)
    while waiting:
        source = waiting.pop()
        for name in meta.find_referenced_templates(_parse(source)):
            if name is None:
                raise InvalidTemplate(f"{source.file}: includes must be by a literal name, not by an expression")
            if name not in found:
                parts = [check_name(part, f"{source.file}: the included") for part in name.split("/")]
                found[name] = _included(layout.templates, parts, source.file)
                waiting.append(_Source(found[name], str(layout.templates.joinpath(*parts))))
    return replace(template, includes=dict(sorted(found.items())))


def _included(folder: Path, parts: Sequence[str], file: str) -> str:
    for part in parts[:-1]:
        folder = folder / part
        if folder.is_symlink():
            raise InvalidTemplate(f"{file}: {folder} is a link; links are not followed")
    try:
        return read_text(folder / parts[-1])
    except InputError as error:
        raise InvalidTemplate(f"{file}: includes what cannot be had: {error.message}", hint=error.hint) from None


def _parse(source: _Source) -> nodes.Template:
    """Return the syntax tree of a text that compiles: unknown filters, for instance, are found only there."""
    environment = _environment()
    try:
        tree = environment.parse(source.text)
        environment.compile(source.text)
    except jinja2.TemplateSyntaxError as error:
        problem = Problem(f"syntax error: {error.message}", source.file, source.line(error.lineno))
        raise InvalidTemplate(f"{source.file} is not usable: 1 problem", problems=[problem]) from None
    except (RecursionError, SyntaxError, ValueError, MemoryError):  # of Python's compiler
        raise InvalidTemplate(f"{source.file}: nested too deeply") from None
    return tree


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
        folder = Path(template.file).parent.parent
        self._files = {str(folder.joinpath(*name.split("/"))): name for name in template.includes}
        files = {name: (template.includes[name], file, None) for file, name in self._files.items()}
        environment = _environment(files.get)
        own = _sources(template)
        for source in own:
            _parse(source)
        self._compiled = [(source, _compiled(environment, source)) for source in own]

    def render(self, context: Mapping[str, Any]) -> Prompt:
        """Return the prompt for a context.

        Raises:
            InvalidTemplate: A name is undefined or an expression fails; file and line are named.
        """
        user, *system = [self._rendered(source, compiled, context) for source, compiled in self._compiled]
        return Prompt(user, *system)

    def try_out(self, context: Mapping[str, Any], *, exact: bool) -> None:
        """Refuse a template that cannot give a prompt, before a call is paid for.

        Args:
            context: What it is tried with.
            exact: Whether that is what a task will really be rendered with. If not, only what no text can mend is
                refused: a name that is undefined, an attribute that nothing there has, an empty prompt.

        Raises:
            InvalidTemplate: It cannot be rendered; file and line are named.
        """
        try:
            prompt = self.render(context)
        except InvalidTemplate as error:
            said = error.problems[0].message if error.problems else error.message
            if exact or any(one in said for one in ("is undefined", "has no attribute", "it never ends")):
                raise
            return
        if not prompt.user:
            raise InvalidTemplate(f"{self.template.file}: the prompt is empty", hint="write what the model is to do")

    def _rendered(self, source: _Source, compiled: jinja2.Template, context: Mapping[str, Any]) -> str:
        try:
            text = compiled.render(context).strip()
            text.encode()
        except Exception as error:  # noqa: BLE001 - whatever an expression of the template raises
            file, line = self._place(error, source)
            problem = Problem(_said(error), file, line, f"known here: {', '.join(_known(context))}")
            raise InvalidTemplate(f"{source.file} cannot be rendered: 1 problem", problems=[problem]) from None
        return text

    def _place(self, error: Exception, source: _Source) -> tuple[str, int | None]:
        """Return file and line at which rendering failed, from the traceback that Jinja rewrites."""
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if frame.filename in self._files:
                return frame.filename, frame.lineno
            if frame.filename == source.file:
                return source.file, source.line(frame.lineno or 1)
        return source.file, None


def _said(error: Exception) -> str:
    """Return what went wrong while a template was rendered, in a template author's words."""
    if isinstance(error, jinja2.UndefinedError):
        return str(error)
    if isinstance(error, RecursionError):
        return "it never ends: a template includes itself, directly or through another, or a macro calls itself"
    return f"{type(error).__name__}: {error}"


def _known(context: Mapping[str, Any]) -> list[str]:
    """Return the names that a template can use; for a row and for concepts, what they have too."""
    names = []
    for name, value in sorted(context.items()):
        inner = value[0] if isinstance(value, list) and value else value
        keys = ", ".join(str(key) for key in inner) if isinstance(inner, dict) else ""
        names.append(f"{name} ({'each: ' if inner is not value else ''}{keys})" if keys else name)
    return names


def _compiled(environment: ImmutableSandboxedEnvironment, source: _Source) -> jinja2.Template:
    """Return a text compiled under the name of its file, which tracebacks then bear."""
    code = environment.compile(source.text, filename=source.file)
    return environment.template_class.from_code(environment, code, environment.make_globals(None))

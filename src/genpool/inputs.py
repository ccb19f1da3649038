"""What prompts are rendered from, by name: concepts, rows, templates. Read once, when first needed."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genpool.combos import (
    Combo,
    ComboBook,
    Concept,
    list_names,
    read_combo_book,
    read_concept,
    read_rows,
    row_digest,
)
from genpool.errors import InvalidCombo, nearest
from genpool.prompts import Renderer, Template, read_template, template_ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from genpool.layout import PoolLayout
    from genpool.signatures import FieldValue
    from genpool.stages import Stage


class Inputs:
    """A pool's concepts, rows, combos and templates.

    Args:
        layout: The pool's paths.
    """

    def __init__(self, layout: PoolLayout) -> None:
        self.layout = layout
        self._concept_ids: list[str] | None = None
        self._concepts: dict[str, Concept] = {}
        self._templates: dict[tuple[str, str], Template] = {}
        self._renderers: dict[tuple[str, str], Renderer] = {}
        self._rows: dict[str, dict[str, dict[str, str]]] = {}

    @cached_property
    def book(self) -> ComboBook:
        """What the pool has recorded of combo ids."""
        return read_combo_book(self.layout)

    def concept_ids(self) -> list[str]:
        """Return the names of all concepts, sorted by code point."""
        if self._concept_ids is None:
            self._concept_ids = list_names(self.layout.concepts, ".yaml")
        return self._concept_ids

    def concept(self, concept_id: str) -> Concept:
        """Return a concept.

        Raises:
            InvalidCombo: It does not exist or is not usable.
        """
        if concept_id not in self._concepts:
            self._concepts[concept_id] = read_concept(self.layout, concept_id, self.concept_ids())
        return self._concepts[concept_id]

    def rows(self, file: str) -> dict[str, dict[str, str]]:
        """Return the rows of a data file by id.

        Args:
            file: The file, relative to the pool.

        Raises:
            InvalidCombo: It is outside the pool, does not exist, or is not usable.
        """
        if file not in self._rows:
            self._rows[file] = read_rows(self.path(file), file)
        return self._rows[file]

    def path(self, file: str) -> Path:
        """Return the path of a file that a spec names, relative to the pool.

        Raises:
            InvalidCombo: It is outside the pool, or does not exist.
        """
        path = self.layout.root / file
        root = self.layout.root.resolve()
        try:
            outside = Path(file).is_absolute() or not path.resolve().is_relative_to(root)
            there = path.is_file()
        except (OSError, ValueError, RuntimeError) as error:  # too long a name, a NUL in it, links in a circle
            raise InvalidCombo(f"the file {file!r} cannot be had: {error}") from None
        if outside:
            raise InvalidCombo(f"the file {file!r} is outside the pool", hint="copy it into the pool's folder")
        if not there:
            folder = path.parent
            listed = path != self.layout.root and folder.is_dir()  # what is beside the pool is nobody's business here
            near = nearest(path.name, (one.name for one in folder.iterdir())) if listed else None
            raise InvalidCombo(f"the file {file!r} does not exist in the pool", hint=near)
        return path

    def row_combo(self, file: str, row_id: str) -> Combo:
        """Return the combo of a row, its meaning checked against what is recorded."""
        combo = Combo(row_id, rows=file, digest=row_digest(self.rows(file)[row_id]))
        self.book.check(combo)
        return combo

    def template_ids(self, stage: str) -> list[str]:
        """Return the names of a stage's templates, sorted by code point."""
        return template_ids(self.layout, stage)

    def template(self, stage: str, template_id: str) -> Template:
        """Return a template.

        Raises:
            InvalidTemplate: It does not exist or is not usable.
        """
        key = (stage, template_id)
        if key not in self._templates:
            self._templates[key] = read_template(self.layout, stage, template_id)
        return self._templates[key]

    def renderer(self, stage: str, template_id: str) -> Renderer:
        """Return a template, compiled."""
        key = (stage, template_id)
        if key not in self._renderers:
            self._renderers[key] = Renderer(self.template(stage, template_id))
        return self._renderers[key]

    def context(self, combo: Combo) -> dict[str, Any]:
        """Return what a root task of a combo is rendered with: `concepts`, or `row`.

        Raises:
            InvalidCombo: A concept or row is gone or has no such level.
        """
        if combo.rows is not None:
            rows = self.rows(combo.rows)
            if combo.combo_id not in rows:
                raise InvalidCombo(
                    f"{combo.rows} has no row with the id {combo.combo_id!r}",
                    hint=nearest(combo.combo_id, rows),
                )
            return {"row": {"id": combo.combo_id, **rows[combo.combo_id]}}
        assert combo.level is not None
        return {"concepts": [self.concept(one).at(combo.level) for one in combo.concepts]}


class AncestorText(str):
    """The text of a generation above, as templates see it: `{{ essay }}` and `{{ essay.text }}` are the same."""

    __slots__ = ()

    @property
    def text(self) -> str:
        """The text itself."""
        return str(self)


def child_context(texts: Mapping[str, str], parent_stage: str) -> dict[str, Any]:
    """Return what a task below a root is rendered with.

    Args:
        texts: Stage name to text, for every ancestor.
        parent_stage: The parent's stage.
    """
    seen = {stage: AncestorText(text) for stage, text in texts.items()}
    return {**seen, "parent": seen[parent_stage]}


def own_context(stage: Stage, variant: Sequence[FieldValue]) -> dict[str, Any]:
    """Return what a task itself adds to its context: `replicate`, and its levels as `axes`.

    Args:
        stage: The task's stage.
        variant: The values of `stage.fields[1:]`.
    """
    axes = dict(zip(stage.fields[1:], variant, strict=True))
    return {"replicate": axes.pop("replicate"), "axes": axes}

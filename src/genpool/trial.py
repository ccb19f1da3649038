"""Rendering every template once, so that what cannot be rendered is known before a call is paid for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from genpool.inputs import child_context, own_context
from genpool.prompts import DEFAULT_TEMPLATE
from genpool.records import MODE_COPY
from genpool.stages import TEMPLATE_FIELD

if TYPE_CHECKING:
    from genpool.compiler import Selection, StageSelection
    from genpool.inputs import Inputs
    from genpool.stages import Pipeline

_TRIAL_TEXT: Final = "A line of some text.\n\n" * 20


def try_templates(selection: Selection, inputs: Inputs, pipeline: Pipeline) -> None:
    """Render every template that a selection uses: at a root for its first combo, below with some text.

    Raises:
        InvalidTemplate: A template cannot give a prompt; file and line are named.
    """
    for chosen in selection.stages:
        stage = chosen.stage
        place = stage.fields.index(TEMPLATE_FIELD) - 1 if TEMPLATE_FIELD in stage.axes else None
        first = {DEFAULT_TEMPLATE if place is None else str(one[place]): one for one in reversed(chosen.variants)}
        for name, variant in first.items():
            if inputs.template(stage.name, name).mode != MODE_COPY:
                context = {**_trial_context(chosen, inputs, pipeline), **own_context(stage, variant)}
                inputs.renderer(stage.name, name).try_out(context, exact=stage.parent is None)


def _trial_context(chosen: StageSelection, inputs: Inputs, pipeline: Pipeline) -> dict[str, Any]:
    """Return what a template of a stage is tried with: the first combo, or some text for every ancestor."""
    if chosen.stage.parent is None:
        return inputs.context(chosen.combos[0])
    texts = {one.name: _TRIAL_TEXT for one in pipeline.ancestors(chosen.stage)}
    return child_context(texts, chosen.stage.parent)

"""Texts with their lineage and their scores, for what is done with them elsewhere: a row a text.

Every text is checked against its digest. One that cannot be read is a row without a text, whose `problem` says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from genpool.errors import DoesNotFit, InvalidSignature, PoolError
from genpool.scores import MADE_STATES, aggregated_scores, axes_of, judging, member_lineages
from genpool.tables import Table, generation_scores, half_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from genpool.scores import Judged
    from genpool.stages import Pipeline, Stage
    from genpool.store import GenerationStore

SCORES = "scores"
"""The column of a text's judgements: a list of rubric, judge, replicate, score, scale and reason."""


def exported_stages(pipeline: Pipeline, asked: Sequence[str]) -> list[Stage]:
    """Return the stages whose texts are exported: those asked for, else those that are judged, else the last ones.

    Raises:
        InvalidPipeline: There is no stage of that name.
    """
    if asked:
        return [pipeline[name] for name in dict.fromkeys(asked)]
    judged = {stage.parent for stage in judging(pipeline)}
    chosen = [stage for stage in pipeline if stage.name in judged]
    return chosen or [stage for stage in pipeline if not pipeline.children(stage)]


def export(
    scope: Judged, store: GenerationStore, stages: Sequence[str] = (), *, prompts: bool = False, reasons: bool = True
) -> Table:
    """Return the texts of some stages that are made, each with its lineage and its scores.

    Args:
        scope: The scope of a cohort, of several, or of the pool.
        store: The pool's store.
        stages: The stages whose texts are wanted; left out, those that are judged, else the last ones.
        prompts: Whether the prompt that each was made from is there too.
        reasons: Whether judges' reasons are.

    Returns:
        Columns `stage`, `gen_id`, `text`, `prompt` where asked for, `problem`, `origin`, `state`, axes and lineage,
        `mean_score`, `scale`, `judgements`, `note` (see `generation_scores`), and `scores`.

    Raises:
        InvalidPipeline: There is no stage of that name.
        DoesNotFit: None of these stages has a text.
    """
    import polars as pl

    names = [stage.name for stage in exported_stages(scope.pipeline, stages)]
    judgements = aggregated_scores(scope, reasons=reasons)
    wanted = member_lineages(scope).filter(pl.col("stage").is_in(names))
    members = wanted.filter(pl.col("state").is_in(MADE_STATES))
    if members.is_empty():
        raise DoesNotFit(f"there is no text of stage {' or '.join(names)}", hint="`genpool status` says what was made")
    members = members.drop(
        [one for one in members.columns if members[one].null_count() == members.height and one != "origin"]
    )
    texts = list(_texts(store, scope.pipeline, members, prompts=prompts))
    read = pl.DataFrame(texts, schema={"text": pl.String, "prompt": pl.String, "problem": pl.String}, orient="row")
    head = members.select("stage", "gen_id").hstack(read if prompts else read.drop("prompt"))
    table = head.hstack(members.drop("stage", "gen_id"))
    summary = generation_scores(judgements, axes_of(scope.pipeline))
    means = summary.frame.select(pl.col("judged_gen_id").alias("gen_id"), "mean_score", "scale", "judgements", "note")
    table = table.join(means, on="gen_id", how="left", maintain_order="left")
    table = table.join(_nested(judgements), on="gen_id", how="left", maintain_order="left")
    unread = read["problem"].drop_nulls()
    notes = [f"{len(unread)} of {table.height} texts cannot be read; the first: {unread[0]}"] if len(unread) else []
    scored = summary.notes if table["judgements"].null_count() < table.height else ()  # else nothing here has scores
    return Table(table, (*notes, *half_run(wanted), *scored))


def _texts(
    store: GenerationStore, pipeline: Pipeline, members: pl.DataFrame, *, prompts: bool
) -> Iterator[tuple[str | None, str | None, str | None]]:
    """Yield text, prompt and what is wrong with them."""
    for stage, gen_id in members.select("stage", "gen_id").iter_rows():
        text = prompt = None
        try:
            record = store.record(pipeline[stage], gen_id)
            text = store.text(record)
            if prompts and "prompt" in record.fingerprints:
                prompt = store.text(record, "prompt")
        except (PoolError, InvalidSignature) as error:
            yield text, prompt, error.message
            continue
        yield text, prompt, None


def _nested(judgements: pl.DataFrame) -> pl.DataFrame:
    """Return a row a judged text with its judgements as one value."""
    import polars as pl

    fields = ["rubric", "judge", "replicate", "score", "min", "max", "normalised", "reason", "problem"]
    one = pl.struct("gen_id", *fields).alias(SCORES)
    return (
        judgements.group_by(pl.col("judged_gen_id").alias(" judged"), maintain_order=True)
        .agg(one)
        .rename({" judged": "gen_id"})
    )

"""`genpool ls`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from genpool.stages import PARENT_FIELD, REPLICATE_FIELD, ROOT_FIELD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from genpool.finding import Matches, MemberState
    from genpool.pool import Pool
    from genpool.signatures import FieldValue

_SHORTEST: Final = 8
"""The fewest characters that an id is cut to."""


@click.command("ls")
@click.argument("cohort", required=False)
@click.option("--stage", help="Only this stage.")
@click.option(
    "--state", type=click.Choice(["own", "reused", "missing", "unusable"]), help="Only members in this state."
)
@click.option(
    "--where",
    multiple=True,
    metavar="FIELD=LEVEL[,LEVEL]",
    help="Only what has one of these levels: template=a,b, or draft.template=a for the draft that it comes from. "
    "Several fields must all hold.",
)
@click.option("--origin", "origins", multiple=True, metavar="COHORT", help="Only what a run of this cohort made.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def command(
    root: str | None,
    cohort: str | None,
    *,
    stage: str | None,
    state: str | None,
    where: tuple[str, ...],
    origins: tuple[str, ...],
    as_json: bool,
) -> int:
    """List cohorts, or the generations of one, or of the pool.

    Without COHORT and options the pool's cohorts; with COHORT its members, in plan order; with --stage, --where or
    --origin alone the generations of the whole pool that fit. On a terminal that is narrower than the table ids are
    cut to as much as tells them apart, which `genpool show` takes as well.

    Levels are separated by commas, or the option is repeated; a level with a comma stands in quotation marks:
    --where 'template="a,b"'.

    Exit code 1: the membership of a cohort cannot be read; the others are shown.
    """
    from genpool.cli.arguments import typed_conditions, typed_levels, usage
    from genpool.cli.reading import reading_shown
    from genpool.cli.sources import tell_sources
    from genpool.pool import Pool

    conditions, makers = typed_conditions(where), typed_levels(origins)
    pool = Pool.find(root)
    if cohort is None and state:
        raise usage("--state needs a COHORT")
    if cohort is None and not (stage or conditions or makers):
        return _cohorts(pool, as_json=as_json)
    if cohort is None:
        with reading_shown(pool, quiet=as_json):
            found = pool.each_matching(stage, where=conditions, origins=makers)
        _show_all(pool, found, as_json=as_json)
        return 0
    scope = pool.scope(cohort)
    tell_sources(scope, verbose=False)
    with reading_shown(pool, quiet=as_json):
        found = scope.each_matching(stage, where=conditions, origins=makers, states=(state,) if state else ())
    if as_json:
        _print_document("members", found)
    else:
        _print_members(found.members, scope.member_ids, combo_names(pool), "state")
    _print_unread(found)
    return 0


def _show_all(pool: Pool, found: Matches, *, as_json: bool) -> None:
    """Print generations of the whole pool; whose run made them takes the place of how they stand in a cohort."""
    if as_json:
        _print_document("generations", found)
    else:
        everyone = (gen_id for stage in pool.config.pipeline for gen_id in pool.store.listed(stage))
        _print_members(found.members, everyone, combo_names(pool), "origin")
    _print_unread(found)


def _print_document(what: str, found: Matches) -> None:
    from genpool.cli.output import print_json_listing

    documents = map(_document, found.members)
    print_json_listing({"format": f"genpool.{what}/1"}, what, documents, {"unread": list(found.unread)})


def _print_unread(found: Matches) -> None:
    from genpool.cli.output import many

    if found.unread:
        sys.stdout.flush()
        lacking = many(len(found.unread), "generation")
        print(
            f"{lacking} left out: nobody knows whether they fit, because they or what is above them cannot be read",
            file=sys.stderr,
        )


def _cohorts(pool: Pool, *, as_json: bool) -> int:
    """Print the pool's cohorts; return the exit code."""
    from genpool.cli.output import print_json, print_table
    from genpool.cli.sources import tell_misnamed
    from genpool.errors import GenpoolError

    rows: list[dict[str, Any]] = []
    for name in pool.cohort_ids():
        row: dict[str, Any] = {"cohort_id": name, "members": None, "spec": pool.layout.spec(name).is_file()}
        try:
            if pool.layout.membership(name).is_file():
                row["members"] = pool.scope(name).size
        except GenpoolError as error:
            row["error"] = error.as_json()
        rows.append(row)
    if as_json:
        print_json({"format": "genpool.cohorts/1", "cohorts": rows, "misnamed": pool.misnamed_cohorts()})
    elif not rows:
        print(f"{pool.root} has no cohort yet: write cohorts/<name>/cohort.yaml")
    else:
        print_table(["cohort", "members"], [[row["cohort_id"], _standing(row)] for row in rows], right=["members"])
        _print_unreadable(rows)
    tell_misnamed(pool)
    return int(any("error" in row for row in rows))


def _standing(row: Mapping[str, Any]) -> object:
    """Return how many members a cohort has, or why that cannot be said."""
    if "error" in row:
        return "unreadable"
    return "not run yet" if row["members"] is None else row["members"]


def _print_unreadable(rows: Iterable[Mapping[str, Any]]) -> None:
    from genpool.cli.output import shown

    for row in rows:
        if "error" in row:
            print(f"unreadable: {shown(row['error']['message'])}")


def combo_names(pool: Pool) -> dict[str, str]:
    """Return what the pool's combo ids stand for, as a person says it; nothing where combos.jsonl cannot be read."""
    from genpool.errors import GenpoolError

    try:
        recorded = pool.inputs.book.by_id
    except GenpoolError:
        return {}
    return {name: " + ".join(combo.concepts) for name, combo in recorded.items() if combo.concepts}


def _print_members(
    members: Iterable[MemberState], everyone: Iterable[str], names: Mapping[str, str], second: str
) -> None:
    """Print members; on a terminal that is too narrow, ids are cut and combos are named by their concepts alone.

    Args:
        members: What is printed.
        everyone: The ids among which a cut one must be told apart.
        names: What combo ids stand for.
        second: The second column: `state` or `origin`.
    """
    from genpool.cli.output import print_table, table_width, terminal_width

    columns = ("gen_id", second, "choices", "replicate", "from", "score")
    listed = [_Listed.of(one, second) for one in members]
    lines = [one.line(names, None) for one in listed]
    terminal = terminal_width()
    if terminal is not None and table_width(columns, lines) > terminal:
        length = _telling_length(set(everyone))
        lines = [one.line(names, length) for one in listed]
    print_table(columns, lines, right=["replicate", "score"], whole=["gen_id"])


class _Listed(NamedTuple):
    """What a line says of a member."""

    gen_id: str
    second: str | None
    choices: str
    replicate: FieldValue | None
    parent: FieldValue | None
    combo: FieldValue | None
    score: float | None

    @classmethod
    def of(cls, one: MemberState, second: str) -> _Listed:
        choices = dict(one.fields)
        parent = choices.pop(PARENT_FIELD, None)
        combo = choices.pop(ROOT_FIELD, None)
        replicate = choices.pop(REPLICATE_FIELD, None)
        score = one.record.score.value if one.record and one.record.score else None
        origin = one.record.origin_cohort_id if one.record else None
        shown = origin if second == "origin" else one.state
        return cls(one.gen_id, shown, " ".join(map(str, choices.values())), replicate, parent, combo, score)

    def line(self, names: Mapping[str, str], length: int | None) -> list[object]:
        """Return the member's line; `length` is what ids are cut to."""
        source = None if self.parent is None else str(self.parent)[:length]
        if self.parent is None and self.combo is not None:  # a damaged member states neither
            name = names.get(str(self.combo))
            source = str(self.combo) if name is None else name if length else f"{self.combo} ({name})"
        score = None if self.score is None else f"{self.score:g}"
        return [self.gen_id[:length], self.second, self.choices, self.replicate, source, score]


def _telling_length(gen_ids: set[str]) -> int:
    """Return to how many characters ids can be cut and still be told apart."""
    length = _SHORTEST
    while len({gen_id[:length] for gen_id in gen_ids}) < len(gen_ids):
        length += 1
    return length


def _document(one: MemberState) -> dict[str, Any]:
    record = one.record
    if record is None:
        return {"stage": one.stage, "gen_id": one.gen_id, "state": one.state, **one.fields}
    return {
        "stage": one.stage,
        "gen_id": one.gen_id,
        "state": one.state,
        **one.fields,
        "origin_cohort_id": record.origin_cohort_id,
        "mode": record.mode,
        "created_at": record.created_at,
        "score": record.score.as_json() if record.score else None,
    }

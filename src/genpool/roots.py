"""What a spec says under `from:` to generations that exist.

A list is used as written. A query over other cohorts is resolved once: when its cohort is adopted, the ids are kept in
adopted.json, and later plans use these, so that a cohort does not change because another does. It is resolved anew
where a person asks for that, or has changed the query itself.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Final

from genpool.adoption import read_frozen
from genpool.aliases import read_aliases
from genpool.errors import CorruptFile, GenpoolError, nearest
from genpool.from_reader import BEST, UNION, From, Listed, Query, Ranking, Roots, Typed
from genpool.membership import cohort_ids, read_membership
from genpool.yaml_reader import Problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from genpool.from_reader import FindBest
    from genpool.layout import PoolLayout
    from genpool.present import Present
    from genpool.stages import Pipeline, Stage

_MOST_COMPARED: Final = 2000
"""Among more ids than these, only those that begin alike are looked at for the nearest."""
_ALIKE: Final = 6
_SHOWN: Final = 3


class RootFinder:
    """Finds the generations that a cohort starts from.

    Args:
        layout: The pool's paths.
        pipeline: The pool's stages.
        present: What each stage holds.
        best: Ranks the texts of cohorts by their scores.
        refresh: Whether a query is resolved anew, whatever was adopted.
    """

    def __init__(
        self,
        layout: PoolLayout,
        pipeline: Pipeline,
        present: Callable[[Stage], Present],
        best: FindBest,
        *,
        refresh: bool = False,
    ) -> None:
        self._layout = layout
        self._pipeline = pipeline
        self._present = cache(present)
        self._best = best
        self._refresh = refresh
        self._aliases = read_aliases(layout)

    def __call__(self, cohort_id: str, source: From, problems: Problems) -> Roots | None:
        """Return the generations, or None where something is wrong with them, which is noted."""
        if isinstance(source, Listed):
            return self._listed(source, problems)
        return self._answered(cohort_id, source, problems)

    # -- a list ------------------------------------------------------------------------------------

    def _listed(self, source: Listed, problems: Problems) -> Roots | None:
        known = len(problems.found)
        found: dict[str, Stage] = {}
        first: tuple[str, Stage] | None = None
        for typed in source.ids:
            match = self._match(typed, problems)
            if match is None:
                continue
            stage, gen_id = match
            first = first or (gen_id, stage)
            if gen_id in found:
                problems.add(f"{typed.place}from: {gen_id} is listed twice", typed.line)
            elif stage != first[1]:
                said = f"{typed.place}from: {gen_id} is of stage {stage.name!r}, but {first[0]} of {first[1].name!r}"
                problems.add(said, typed.line, "a cohort starts from generations of one stage")
            found[gen_id] = stage
        if first is None or len(problems.found) > known:
            return None
        return Roots(first[1], tuple(found))

    def _match(self, typed: Typed, problems: Problems) -> tuple[Stage, str] | None:
        """Return the generation of an id, or the only one whose id begins so."""
        exact = [(stage, typed.text) for stage in self._pipeline if typed.text in self._present(stage).whole]
        exact = exact or [(self._pipeline[name], gen_id) for name, gen_id in self._aliased(typed.text)]
        matches = exact or (list(self._beginning(typed.text)) if typed.text else [])
        if len(matches) == 1:
            return matches[0]
        where = f"{typed.place}from: "
        damaged = next((one for stage in self._pipeline if (one := self._damage(stage, typed.text))), None)
        if exact:
            said, hint = f"{typed.text!r} is in several stages", ", ".join(stage.name for stage, _ in exact)
        elif matches:
            shown = ", ".join(gen_id for _, gen_id in matches[:_SHOWN])
            said, hint = f"{len(matches)} generations have an id that begins with {typed.text!r}", f"{shown}, …"
        elif damaged:
            said, hint = f"{typed.text!r} is not usable: {damaged}", ""
        else:
            said, hint = f"no generation has the id {typed.text!r}", self._nearest(typed.text) or ""
        problems.add(where + said, typed.line, hint or None)
        return None

    def _aliased(self, typed: str) -> list[tuple[str, str]]:
        """Return stage and present id of the generations that had an id before a migration."""
        return [
            (name, gen_id)
            for name, gen_id in sorted(set(self._aliases.find(typed)))
            if gen_id in self._present(self._pipeline[name]).whole
        ]

    @cache  # noqa: B019 - a finder lives for one command
    def _sorted(self, stage: Stage) -> list[str]:
        return sorted(self._present(stage).whole)

    def _beginning(self, typed: str) -> Iterator[tuple[Stage, str]]:
        for stage in self._pipeline:
            ids = self._sorted(stage)
            at = bisect_left(ids, typed)
            while at < len(ids) and ids[at].startswith(typed):
                yield stage, ids[at]
                at += 1

    def _damage(self, stage: Stage, gen_id: str) -> str | None:
        present = self._present(stage)
        return "a part of it is missing" if gen_id in present.incomplete else present.unusable.get(gen_id)

    def _nearest(self, typed: str) -> str | None:
        ids = [one for stage in self._pipeline for one in self._present(stage).whole]
        if len(ids) > _MOST_COMPARED:
            ids = [one for _, one in self._beginning(typed[:_ALIKE])][:_MOST_COMPARED]
        hint = nearest(typed, ids)
        return hint if hint and hint.startswith("did") else "`genpool ls <cohort>` lists a cohort's generations"

    # -- a query -----------------------------------------------------------------------------------

    def _answered(self, cohort_id: str, query: Query, problems: Problems) -> Roots | None:
        """Return the answer that was adopted, or the present one."""
        try:
            frozen, of = read_frozen(self._layout, cohort_id)
        except CorruptFile as error:
            if not self._refresh:
                problems.add(f"from: {error.message}", query.line, error.hint)
                return None
            frozen, of = [], None
        same = bool(frozen) and of == query.as_json()
        if not same or self._refresh:
            changed = ("from: the query is not the one that was adopted; it was resolved anew",)
            return self._resolved(cohort_id, query, problems, changed if frozen and not self._refresh else ())
        whole = self._present(query.stage).whole
        frozen = [self._aliases.resolve(query.stage.name, gen_id) for gen_id in frozen]
        gone = [gen_id for gen_id in frozen if gen_id not in whole]
        if gone:
            said = f"from: {len(gone)} of {len(frozen)} adopted generations are no longer there: {_some(gone)}"
            problems.add(said, query.line, "`--refresh` resolves the query anew")
            return None
        now = self._resolved(cohort_id, query, Problems(problems.file))
        return Roots(query.stage, tuple(frozen), query.as_json(), _moved(frozen, now))

    def _resolved(self, cohort_id: str, query: Query, problems: Problems, notes: tuple[str, ...] = ()) -> Roots | None:
        """Return what the memberships of other cohorts give now."""
        if query.kind == BEST:
            return self._ranked(cohort_id, query, problems, notes)
        known = len(problems.found)
        members = [self._members(cohort_id, query, one, problems) for one in query.cohorts]
        if len(problems.found) > known:
            return None
        if query.kind == UNION:
            wanted = list(dict.fromkeys(gen_id for ids in members for gen_id in ids))
        else:
            others = {gen_id for ids in members[1:] for gen_id in ids}
            wanted = [gen_id for gen_id in members[0] if gen_id not in others]
        whole = self._present(query.stage).whole
        found = tuple(gen_id for gen_id in wanted if gen_id in whole)
        if not found:
            lacking = f"; {len(wanted)} are not made yet" if wanted else ""
            said = (
                f"from: {query.kind} of {', '.join(one.text for one in query.cohorts)}: no {query.stage.name} is left"
            )
            problems.add(said + lacking, query.line)
            return None
        if len(found) < len(wanted):
            said = (
                f"from: {len(wanted) - len(found)} of {len(wanted)} {query.stage.name} members have no generation yet"
            )
            notes = (*notes, f"{said} and are left out; --refresh takes them in later")
        return Roots(query.stage, found, query.as_json(), notes)

    def _ranked(self, cohort_id: str, query: Query, problems: Problems, notes: tuple[str, ...]) -> Roots | None:
        """Return the best texts of other cohorts as they are judged now."""
        known = len(problems.found)
        for one in query.cohorts:
            self._members(cohort_id, query, one, problems)
        if len(problems.found) > known:
            return None
        names = [one.text for one in query.cohorts]
        where = f"the best {query.stage.name} texts of {', '.join(names) or 'all cohorts'}"
        try:
            names = names or self._others(cohort_id, query.stage)
            ranking = self._best(query.stage, names, query.top, query.by) if names else Ranking(())
        except GenpoolError as error:
            problems.add(f"from: {where}: {error.message}", query.line, error.hint)
            return None
        if not ranking.gen_ids:
            said = "; ".join(ranking.notes) or f"no other cohort has a member of stage {query.stage.name!r}"
            problems.add(f"from: {where}: there is none: {said}", query.line)
            return None
        if len(ranking.gen_ids) < query.top:
            count = len(ranking.gen_ids)
            notes = (*notes, f"from: only {count} texts have a {query.by}, fewer than the {query.top} asked for")
        notes = (*notes, *(f"from: {one}" for one in ranking.notes))
        return Roots(query.stage, ranking.gen_ids, query.as_json(), notes)

    def _others(self, cohort_id: str, stage: Stage) -> list[str]:
        """Return every other cohort that was run and has members of a stage."""
        adopted = [
            one for one in cohort_ids(self._layout) if one != cohort_id and self._layout.membership(one).is_file()
        ]
        members = {one: read_membership(self._layout, self._pipeline, one) for one in adopted}
        return [name for name, found in members.items() if any(one.stage == stage.name for one in found)]

    def _members(self, cohort_id: str, query: Query, typed: Typed, problems: Problems) -> list[str]:
        """Return a cohort's members of the query's stage, each once; note why there are none."""
        if typed.text == cohort_id:
            problems.add(f"from: {cohort_id!r} cannot start from itself", typed.line)
            return []
        try:
            members = read_membership(self._layout, self._pipeline, typed.text)
        except GenpoolError as error:
            problems.add(f"from: {error.message}", typed.line, error.hint)
            return []
        ids = dict.fromkeys(one.gen_id for one in members if one.stage == query.stage.name)
        if not ids:
            stages = ", ".join(Counter(one.stage for one in members)) or "nothing"
            said = f"from: cohort {typed.text!r} has no member of stage {query.stage.name!r}"
            problems.add(said, typed.line, f"it has {stages}")
        return list(ids)


def _moved(frozen: Sequence[str], now: Roots | None) -> tuple[str, ...]:
    """Return the note that the query's answer is another now than when it was adopted."""
    more = len(set(now.gen_ids) - set(frozen)) if now else 0
    fewer = len(set(frozen) - set(now.gen_ids)) if now else 0
    if not more and not fewer:
        return ()
    change = " and ".join(f"{count} {word}" for count, word in ((more, "more"), (fewer, "fewer")) if count)
    return (f"from: the query gives {change} now than the {len(frozen)} that were adopted; --refresh takes its answer",)


def _some(gen_ids: Sequence[str]) -> str:
    return ", ".join(gen_ids[:_SHOWN]) + (", …" if len(gen_ids) > _SHOWN else "")

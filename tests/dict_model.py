"""What a pool must hold and say, as plain dicts: the model that the real one is held against.

Nothing here looks at a file or at genpool's own code. Ids, slots and states of tasks come from the rules as
`tests.legacy_pools` spells them out; drift, removal and the scope's answers are spelled out here.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tests.legacy_pools import PARENTS, Member, Scanned, expected, fields_of, right_id, slots_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from tests.legacy_pools import Expected, Family, Wants

Task = tuple[str, str]
"""Stage and id."""

Plan = dict[str, list["Expected"]]

TO_MAKE = {"mint", "incomplete"}
LIMIT = 2
"""The models' limit of attempts."""


@dataclass(frozen=True)
class Gen:
    """One whole generation."""

    family: Family
    stated: int | None
    legacy: bool
    origin: str | None
    text: str
    """The digest of its text."""
    created: datetime | None = None
    copied: bool = False
    sealed: bool = True
    """Whether its record has fingerprints; those of other tools have none."""
    made_from: Mapping[str, object] = field(default_factory=dict)
    """What template, model and source stood for when it was made."""


@dataclass(frozen=True)
class Broken:
    """A directory under gens/ that is no whole generation."""

    state: str
    parent: str | None = None
    """What its record says that it starts from, if that can be read."""


@dataclass(frozen=True)
class Line:
    """A line of a membership."""

    stage: str
    gen_id: str
    family: Family
    slot: int

    @property
    def task(self) -> Task:
        return self.stage, self.gen_id


@dataclass(frozen=True)
class Taken:
    """What one removal takes away."""

    gens: dict[Task, Gen]
    attempts: dict[Task, int]
    cohort: str | None = None
    """The cohort whose folder goes, if one does."""
    wants: Wants | None = None
    members: list[Line] | None = None

    def __bool__(self) -> bool:
        return bool(self.gens or self.attempts or self.cohort)


@dataclass(frozen=True)
class Fate:
    """What a run does, if nothing stops it."""

    made: dict[Task, Expected]
    calls: int
    failed: dict[Task, int]


@dataclass
class DictPool:
    """A pool as dicts."""

    salt: str = ""
    wants: dict[str, Wants] = field(default_factory=dict)
    members: dict[str, list[Line]] = field(default_factory=dict)
    gens: dict[Task, Gen] = field(default_factory=dict)
    broken: dict[Task, Broken] = field(default_factory=dict)
    attempts: dict[Task, int] = field(default_factory=dict)
    """Tasks with a folder of attempts: how many of these count towards the limit."""
    recorded: dict[Task, int] = field(default_factory=dict)
    """Slots of legacy generations."""
    accepted: set[tuple[str, ...]] = field(default_factory=set)
    now: dict[tuple[str, str], str] = field(default_factory=dict)
    """Kind and name to what it stands for."""
    trash: dict[str, Taken] = field(default_factory=dict)

    # -- plans -------------------------------------------------------------------------------------

    def scans(self) -> dict[str, Scanned]:
        scans = {stage: Scanned() for stage in PARENTS}
        families: dict[str, dict[Family, list[Member]]] = {stage: defaultdict(list) for stage in PARENTS}
        for (stage, name), gen in self.gens.items():
            scans[stage].whole[name] = gen.origin
            families[stage][gen.family].append(Member(name, gen.stated, gen.legacy, gen.created))
            if gen.legacy:
                scans[stage].legacy.add(name)
        for (stage, name), broken in self.broken.items():
            (scans[stage].incomplete if broken.state == "incomplete" else scans[stage].unusable).add(name)
        for stage, seen in scans.items():
            recorded = {name: slot for (where, name), slot in self.recorded.items() if where == stage}
            for family, siblings in families[stage].items():
                if any(one.legacy for one in siblings):
                    seen.families[family] = slots_of(siblings, recorded)
        return scans

    def plan(self, cohort: str, *, limit: int = LIMIT) -> Plan:
        return expected(None, self.wants[cohort], limit=limit, scans=self.scans(), failed=self.attempts, salt=self.salt)

    def wants_of_all(self) -> Iterator[tuple[str, Expected]]:
        """Yield stage and task of everything that the cohorts want."""
        for cohort in sorted(self.wants):
            yield from ((stage, one) for stage, tasks in self.plan(cohort).items() for one in tasks)

    def hidden(self, plan: Plan) -> dict[str, int]:
        """Return how many unusable directories there are that may be anything: stage to count."""
        found: dict[str, int] = {}
        for stage, tasks in plan.items():
            known = {one.gen_id for one in tasks}
            lost = {name for (at, name), one in self.broken.items() if at == stage and one.state == "unusable"} - known
            if lost:
                found[stage] = len(lost)
        return found

    def adopt(self, cohort: str, plan: Plan) -> None:
        """Make a plan the cohort's membership; the slots of the families that it looked at are recorded."""
        scans = self.scans()
        self.members[cohort] = [
            Line(stage, one.gen_id, one.family, one.slot) for stage, tasks in plan.items() for one in tasks
        ]
        for stage, tasks in plan.items():
            for family in {one.family for one in tasks}:
                for slot, name in scans[stage].families.get(family, {}).items():
                    if name in scans[stage].legacy:
                        self.recorded.setdefault((stage, name), slot)

    # -- runs --------------------------------------------------------------------------------------

    def fate(
        self,
        plan: Plan,
        failing: Mapping[str, int],
        *,
        broken_off: Iterable[str] = (),
        retry: bool = False,
        only: set[Task] | None = None,
    ) -> Fate:
        """Return what a run does where some tasks' first answers are not acceptable, and some calls fail."""
        made: dict[Task, Expected] = {}
        failed: dict[Task, int] = {}
        calls = 0
        for stage, tasks in plan.items():
            for one in tasks:
                task = stage, one.gen_id
                if one.state not in TO_MAKE or (only is not None and task not in only):
                    continue
                if any(lacking not in made for lacking in lacking_above(plan, stage, one)):
                    continue
                kept = self.attempts.get(task, 0)
                tries = LIMIT if retry and kept >= LIMIT else LIMIT - kept
                wrong = 0 if one.copies else min(failing.get(one.gen_id, 0), tries)
                if one.gen_id in broken_off and not one.copies:
                    calls += 1
                    continue
                calls += 0 if one.copies else min(wrong + 1, tries)
                if wrong:
                    failed[task] = wrong
                if wrong < tries:
                    made[task] = one
        return Fate(made, calls, failed)

    def commit(self, cohort: str, plan: Plan, stage: str, one: Expected, text: str) -> None:
        """Note that a task of a plan was made, with the digest of its text."""
        task = stage, one.gen_id
        if self.broken.pop(task, None):
            self.attempts.setdefault(task, 0)  # what was there moves among the attempts
        made_from: dict[str, object] = {"template": self.now["template", f"{stage}/{one.family[1]}"]}
        if not one.copies:
            made_from["model"] = self.now["model", model_of(plan, stage, one)]
        parent = PARENTS[stage]
        source = one.family[0]
        made_from["source"] = self.gens[parent, source].text if parent else self.now["combo", source]
        self.gens[task] = Gen(one.family, one.slot, False, cohort, text, copied=one.copies, made_from=made_from)

    # -- drift -------------------------------------------------------------------------------------

    def drift(self, cohort: str) -> dict[tuple[str, str], dict[tuple[str, str], list[str]]]:
        """Return what drifted: kind and name, to then and now, to the generations."""
        found: dict[tuple[str, str], dict[tuple[str, str], list[str]]] = {}
        plan = self.plan(cohort)
        for stage, tasks in plan.items():
            for one in tasks:
                if one.state == "reuse":
                    for kind, name, then, now in self._differences(plan, stage, one):
                        if (kind, name, then, now) not in self.accepted:
                            found.setdefault((kind, name), {}).setdefault((then, now), []).append(one.gen_id)
        return found

    def _differences(self, plan: Plan, stage: str, one: Expected) -> Iterator[tuple[str, str, str, str]]:
        gen = self.gens[stage, one.gen_id]
        parent = PARENTS[stage]
        names = {"template": f"{stage}/{one.family[1]}", "model": model_of(plan, stage, one)}
        now = {kind: self.now[kind, name] for kind, name in names.items()}
        if parent is None:
            names["source"], now["source"] = one.family[0], self.now["combo", one.family[0]]
        elif plan[parent][one.at].state == "reuse" and self.gens[parent, one.family[0]].sealed:
            names["source"], now["source"] = one.family[0], self.gens[parent, one.family[0]].text
        for kind, present in now.items():
            then = gen.made_from.get(kind)
            if then is not None and then != present:
                yield (
                    {"source": "combo" if parent is None else "parent"}.get(kind, kind),
                    names[kind],
                    str(then),
                    present,
                )

    # -- removal -----------------------------------------------------------------------------------

    def sources(self) -> dict[Task, Task]:
        """Return what each task starts from, as far as anything says it."""
        said: dict[Task, str] = {}
        for (stage, name), gen in self.gens.items():
            said[stage, name] = gen.family[0]
        for task, broken in self.broken.items():
            if broken.parent is not None:
                said[task] = broken.parent
        for cohort in sorted(self.members):
            for line in self.members[cohort]:
                said.setdefault(line.task, line.family[0])
        return {task: (parent, name) for task, name in said.items() if (parent := PARENTS[task[0]])}

    def purged(self, cohort: str) -> Taken | None:
        """Return what purging a cohort takes away; None where there is nothing of that name."""
        everyones = {line.task for lines in self.members.values() for line in lines}
        mine = {line.task for line in self.members.get(cohort, ())}
        mine |= {task for task, gen in self.gens.items() if gen.origin == cohort and task not in everyones}
        if cohort not in self.wants and not mine:
            return None
        sources = self.sources()
        others = {line.task for name, lines in self.members.items() if name != cohort for line in lines}
        reached = others | {above for task in others for above in ancestors(task, sources)}
        stays = {task for task in (*self.gens, *self.broken) if task not in mine or task in reached}
        stays |= self.broken.keys()
        stays |= {above for task in stays for above in ancestors(task, sources)}
        goes = {task for task in mine if task in self.gens and task not in stays}
        unmade = {task for task in mine if task not in self.gens and task not in self.broken} - reached
        folder = cohort if cohort in self.wants else None
        taken = self._taken(goes, unmade)
        return replace(taken, cohort=folder, wants=self.wants.get(cohort), members=self.members.get(cohort))

    def regenerated(self, cohort: str, names: set[tuple[str, str]] | None) -> Taken:
        """Return what regenerating what drifted takes away."""
        chosen = [groups for key, groups in self.drift(cohort).items() if names is None or key in names]
        ids = {name for groups in chosen for group in groups.values() for name in group}
        drifted = {(stage, one.gen_id) for stage, tasks in self.plan(cohort).items() for one in tasks} & {
            (stage, name) for stage in PARENTS for name in ids
        }
        sources = self.sources()
        known = {*self.gens, *self.broken, *sources}
        below = {task for task in known if task in drifted or drifted & set(ancestors(task, sources))}
        unmade = {task for task in below if task not in self.gens and task not in self.broken}
        return self._taken(below & self.gens.keys(), unmade)

    def _taken(self, goes: set[Task], unmade: set[Task]) -> Taken:
        with_attempts = (goes | unmade) & self.attempts.keys()
        return Taken({task: self.gens[task] for task in goes}, {task: self.attempts[task] for task in with_attempts})

    def take(self, trash_id: str, taken: Taken) -> None:
        self.trash[trash_id] = taken
        for task in taken.gens:
            del self.gens[task]
        for task in taken.attempts:
            del self.attempts[task]
        if taken.cohort is not None:
            del self.wants[taken.cohort]
            self.members.pop(taken.cohort, None)

    def can_undo(self, taken: Taken) -> bool:
        """Return whether every place that is needed is free."""
        gens = not any(task in self.gens or task in self.broken for task in taken.gens)
        return gens and not taken.attempts.keys() & self.attempts.keys() and taken.cohort not in self.wants

    def undo(self, trash_id: str) -> None:
        taken = self.trash.pop(trash_id)
        self.gens |= taken.gens
        self.attempts |= taken.attempts
        if taken.cohort is not None:
            assert taken.wants is not None
            self.wants[taken.cohort] = taken.wants
            if taken.members is not None:
                self.members[taken.cohort] = taken.members

    # -- the scope ---------------------------------------------------------------------------------

    def standing(self, cohort: str, line: Line, scans: Mapping[str, Scanned]) -> str:
        """Return how a member stands: own, reused, missing or unusable."""
        gen = self.gens.get(line.task)
        if gen is None:
            broken = self.broken.get(line.task)
            return "unusable" if broken and broken.state == "unusable" else "missing"
        signature = fields_of(line.stage, line.family, line.slot)
        filled = scans[line.stage].families.get(line.family, {}).get(line.slot)
        if gen.legacy and filled != line.gen_id and right_id(line.stage, signature, self.salt) == line.gen_id:
            return "unusable"  # a record of another task, under the id of this one
        return "own" if gen.origin == cohort else "reused"


def ancestors(task: Task, sources: Mapping[Task, Task]) -> Iterator[Task]:
    while task in sources:
        task = sources[task]
        yield task


def lacking_above(plan: Plan, stage: str, one: Expected) -> Iterator[Task]:
    """Yield the tasks above one that do not exist."""
    for parent, above in chain(plan, stage, one):
        if above.state != "reuse":
            yield parent, above.gen_id


def chain(plan: Plan, stage: str, one: Expected) -> Iterator[tuple[str, Expected]]:
    """Yield the tasks above one, nearest first."""
    parent = PARENTS[stage]
    while parent is not None:
        one = plan[parent][one.at]
        yield parent, one
        parent = PARENTS[parent]


def model_of(plan: Plan, stage: str, one: Expected) -> str:
    """Return the model that a task runs on."""
    for _, at in ((stage, one), *chain(plan, stage, one)):
        if len(at.family) > 2:
            return at.family[2]
    raise AssertionError(one)

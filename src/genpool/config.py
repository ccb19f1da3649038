"""pool.yaml: the pool's id scheme, salt, pipeline, models and budget."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from genpool.canonical import canonical_json
from genpool.errors import (
    InvalidConfig,
    InvalidPipeline,
    InvalidSignature,
    NotAPool,
    Problem,
    StorageFailed,
    UnsupportedFormat,
)
from genpool.gen_ids import SCHEME, check_salt
from genpool.layout import PoolLayout
from genpool.records import Price
from genpool.signatures import text_problem
from genpool.stages import DEFAULT_PIPELINE, Pipeline, Stage, axis_field
from genpool.yaml_reader import Items, Problems, Scalar, Table, check_format, read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from genpool.canonical import Json

FORMAT: Final = "genpool.pool/1"
ENVIRONMENT_POOL: Final = "GENPOOL_POOL"

CLIENTS: Final = ("embedded", "openai", "scripted")
"""The ways to ask a model."""

SAMPLING: Final = frozenset(
    "temperature top_p top_k min_p typical_p max_tokens repeat_penalty presence_penalty frequency_penalty stop "
    "reasoning_effort verbosity logit_bias "
    "grammar dry_multiplier dry_base dry_allowed_length dry_penalty_last_n".split()
)
"""Sampling parameters that are sent as they are written; others go under `extra`."""

_OTHER_KEYS: Final = frozenset(
    "client model base_url key price concurrency requests_per_minute tries attempts timeout constrain context extra "
    "answers calls_log seconds".split()
)
_OURS: Final = frozenset("model messages seed stream stream_options n response_format".split())
"""What a request holds besides sampling parameters."""
_MOST_CALLS: Final = 4096
_CONSTRAIN: Final = ("json_schema", "grammar", "none")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One of the pool's models: a provider's model with its sampling parameters."""

    model_id: str
    """Its name in the pool: the `llm_model_id` of signatures."""
    client: str
    """How it is asked: one of `CLIENTS`."""
    model: str
    """The model's name as it is sent, or the name or path of embedded weights."""
    sampling: Mapping[str, Json] = field(default_factory=dict)
    """Every sampling parameter that is sent."""
    base_url: str | None = None
    key: str | None = None
    """The name of the environment variable that holds the key."""
    price: Price | None = None
    concurrency: int = 4
    """How many calls may be in flight at once."""
    requests_per_minute: int | None = None
    """How many calls may be sent in any minute; None for no limit."""
    tries: int = 6
    """How many requests there may be for one answer, the first included; only what fails for a moment is repeated."""
    attempts: int = 2
    """How many unacceptable answers exhaust a task."""
    timeout: float = 600.0
    """Seconds until a call is given up, however much of it has come."""
    constrain: str = "json_schema"
    """How a judge's answer is constrained: `json_schema`, `grammar` or `none`."""
    context: int = 4096
    """Tokens of context a call has in an embedded model."""
    script: Mapping[str, Json] = field(default_factory=lambda: MappingProxyType({}))
    """For the scripted client: `answers`, `seconds`, `calls_log`."""

    @property
    def way(self) -> str:
        """How the client takes a constraint on the answer: `grammar`, `json_schema` or `none`."""
        if self.client == "embedded" and self.constrain != "none":
            return "grammar"
        return self.constrain

    @property
    def max_tokens(self) -> int | None:
        """The limit of output tokens, where one is set."""
        limit = self.sampling.get("max_tokens")
        return limit if isinstance(limit, int) else None


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """What pool.yaml says."""

    pipeline: Pipeline
    models: Mapping[str, ModelEntry]
    salt: str = ""
    budget: float | None = None
    """The most that the pool may spend, in the prices' currency."""


def find_root(root: str | os.PathLike[str] | None = None) -> Path:
    """Return a pool's directory: the one named, else GENPOOL_POOL, else the nearest at or above the current one.

    Raises:
        NotAPool: There is none.
    """
    named = root or os.environ.get(ENVIRONMENT_POOL)
    if named:
        return Path(named)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if PoolLayout(folder).config.is_file():
            return folder
    raise NotAPool(
        f"{here} is not in a pool: neither it nor a directory above has a {PoolLayout(here).config.name}",
        hint="`genpool init DIR --example` makes one with an example; `--pool DIR` names one that is elsewhere",
    )


def read_config(layout: PoolLayout) -> PoolConfig:
    """Read a pool's pool.yaml.

    Raises:
        NotAPool: The directory holds no pool.yaml.
        UnsupportedFormat: A newer genpool wrote it.
        InvalidConfig: It is not usable; every problem is listed with its line.
    """
    path = layout.config
    text = _read(path, layout.root)
    problems = Problems(str(path))
    tree = problems.table(read_yaml(text, problems), "pool.yaml")
    config = None
    if tree is not None:
        check_format(tree, FORMAT, problems)
        problems.known_keys(tree, ("format", "id_scheme", "salt", "pipeline", "models", "budget"), "pool.yaml")
        config = PoolConfig(
            pipeline=_pipeline(tree, problems),
            models=_models(tree, problems),
            salt=_identity(tree, problems),
            budget=_budget(tree, problems),
        )
    problems.raise_if_any(InvalidConfig, "pool.yaml is not usable")
    assert config is not None
    return config


def _read(path: Path, root: Path) -> str:
    hint = f"`genpool init {root}` makes a pool there; `--pool DIR` names another"
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotAPool(f"{root} is not a pool: it has no pool.yaml", hint=hint) from None
    except NotADirectoryError:
        raise NotAPool(f"{root} is a file, not a pool's directory", hint=hint) from None
    except UnicodeDecodeError as error:
        raise InvalidConfig(
            "pool.yaml is not usable: 1 problem", problems=[Problem(f"not UTF-8: {error}", str(path))]
        ) from None
    except ValueError as error:  # a NUL or a lone surrogate in the directory's name
        raise NotAPool(f"{str(root)!r} cannot be a directory: {error}", hint=hint) from None
    except OSError as error:
        raise StorageFailed(f"cannot read {path}: {error.strerror}") from error


def _identity(tree: Table, problems: Problems) -> str:
    """Check the id scheme; return the salt."""
    scheme = problems.text(tree, "id_scheme", "pool.yaml")
    if scheme is None and "id_scheme" not in tree.entries:
        problems.add("the key `id_scheme` is missing", tree.line, f"write `id_scheme: {SCHEME}`")
    elif scheme != SCHEME:
        raise UnsupportedFormat(
            f"{problems.file}: id scheme {scheme!r} is not known to this genpool ({SCHEME})",
            hint="ids are made by a pool's scheme; use the genpool that knows it, or migrate the pool",
        )
    salt = problems.text(tree, "salt", "pool.yaml") or ""
    try:
        check_salt(salt)
    except InvalidSignature as error:
        problems.add(error.message, tree.line_of("salt"))
    return salt


def _budget(tree: Table, problems: Problems) -> float | None:
    table = problems.table(tree.entries.get("budget"), "budget")
    if table is None:
        return None
    problems.known_keys(table, ("pool",), "budget")
    return problems.number(table, "pool", "budget")


# --- the pipeline ---------------------------------------------------------------------------------


def _pipeline(tree: Table, problems: Problems) -> Pipeline:
    node = tree.entries.get("pipeline")
    if node is None or (isinstance(node, Scalar) and node.is_null):
        return DEFAULT_PIPELINE
    table = problems.table(node, "pipeline")
    before = len(problems.found)
    stages = [_stage(name, entry, problems) for name, entry in table.entries.items()] if table else []
    if len(problems.found) > before:
        return DEFAULT_PIPELINE
    try:
        return Pipeline(stage for stage in stages if stage is not None)
    except InvalidPipeline as error:
        problems.add(error.message, node.line, error.hint)
        return DEFAULT_PIPELINE


def _stage(name: str, node: object, problems: Problems) -> Stage | None:
    what = f"stage {name!r}"
    table = problems.table(node if isinstance(node, Table | Scalar | Items) else None, what)
    if table is None:
        return None
    problems.known_keys(table, ("prefix", "parent", "axes", "replicates", "judges"), what)
    prefix = problems.text(table, "prefix", what)
    if prefix is None:
        problems.add(
            f"{what}: the key `prefix` is missing",
            table.line,
            "ids of the stage start with it, for instance `prefix: d`",
        )
    return Stage(
        name=name,
        prefix=prefix or "x",
        parent=problems.text(table, "parent", what),
        axes=tuple(_axes(table, what, problems)),
        replicates=problems.whole_number(table, "replicates", what) or 1,
        judges=problems.flag(table, "judges", what) or False,
    )


def _axes(table: Table, what: str, problems: Problems) -> list[str]:
    node = table.entries.get("axes")
    if node is None:
        return []
    if not isinstance(node, Items):
        problems.add(f"{what}: axes must be a list", node.line, "for instance `axes: [template, model]`")
        return []
    names = []
    for item in node:
        if not isinstance(item, Scalar):
            problems.add(f"{what}: an axis must be a name", item.line)
        elif item.text == "combo" or item.text in {"template_id", "llm_model_id"}:
            right = {"combo": None, "template_id": "template", "llm_model_id": "model"}[item.text]
            hint = f"write `{right}`" if right else "every root stage has it; leave it out"
            problems.add(f"{what}: {item.text!r} cannot be listed among the axes", item.line, hint)
        else:
            names.append(axis_field(item.text))
    return names


# --- models ---------------------------------------------------------------------------------------


def _models(tree: Table, problems: Problems) -> dict[str, ModelEntry]:
    table = problems.table(tree.entries.get("models"), "models")
    entries: dict[str, ModelEntry] = {}
    for model_id, node in table.entries.items() if table else ():
        wrong = text_problem(model_id)
        if wrong:
            problems.add(f"model {model_id!r} {wrong}", table.line_of(model_id) if table else None)
        alike = next((other for other in entries if other.casefold() == model_id.casefold()), None)
        if alike is not None and table:
            problems.add(f"models {alike!r} and {model_id!r} differ only in case", table.line_of(model_id))
        entry = problems.table(node, f"model {model_id!r}")
        if entry is not None:
            entries[model_id] = _model(model_id, entry, problems)
    return entries


def _model(model_id: str, table: Table, problems: Problems) -> ModelEntry:
    what = f"model {model_id!r}"
    problems.known_keys(table, SAMPLING | _OTHER_KEYS, what)
    client = _choice(table, "client", CLIENTS, what, problems)
    if client is None and "client" not in table.entries:
        problems.add(f"{what}: the key `client` is missing", table.line, f"one of {', '.join(CLIENTS)}")
    model = problems.text(table, "model", what) or (model_id if client == "scripted" else None)
    if model is None:
        problems.add(f"{what}: the key `model` is missing", table.line, "the model's name at the provider")
    defaults = {"embedded": 2, "scripted": 8}
    return ModelEntry(
        model_id=model_id,
        client=client or CLIENTS[0],
        model=model or "",
        sampling=_sampling(table, what, problems),
        base_url=problems.text(table, "base_url", what),
        key=_key_name(table, what, problems),
        price=_price(table, what, problems),
        concurrency=_concurrency(table, what, problems) or defaults.get(client or "", 4),
        requests_per_minute=problems.whole_number(table, "requests_per_minute", what),
        tries=problems.whole_number(table, "tries", what) or 6,
        attempts=problems.whole_number(table, "attempts", what) or 2,
        timeout=_timeout(table, what, problems),
        constrain=_choice(table, "constrain", _CONSTRAIN, what, problems) or _CONSTRAIN[0],
        context=problems.whole_number(table, "context", what) or 4096,
        script=_script(table, what, problems),
    )


def _script(table: Table, what: str, problems: Problems) -> dict[str, Json]:
    """Return what a scripted model goes by; its log is a file of the pool."""
    log = problems.text(table, "calls_log", what)
    if log is not None and (log.startswith("/") or ".." in log.split("/") or "\0" in log):
        problems.add(f"{what}: calls_log {log!r} is outside the pool", table.line_of("calls_log"), "a path in the pool")
    return {key: table.entries[key].value() for key in ("answers", "seconds", "calls_log") if key in table.entries}


def _concurrency(table: Table, what: str, problems: Problems) -> int | None:
    count = problems.whole_number(table, "concurrency", what)
    if count is not None and count > _MOST_CALLS:
        problems.add(f"{what}: concurrency is {count}", table.line_of("concurrency"), f"at most {_MOST_CALLS}")
    return count


def _timeout(table: Table, what: str, problems: Problems) -> float:
    seconds = problems.number(table, "timeout", what)
    if seconds == 0:
        problems.add(f"{what}: timeout is 0", table.line_of("timeout"), "seconds, more than 0; left out: 600")
    return seconds or 600.0


def _choice(table: Table, key: str, choices: tuple[str, ...], what: str, problems: Problems) -> str | None:
    value = problems.text(table, key, what)
    if value is not None and value not in choices:
        problems.add(f"{what}: {key} is {value!r}", table.line_of(key), f"one of {', '.join(choices)}")
        return None
    return value


def _key_name(table: Table, what: str, problems: Problems) -> str | None:
    """Return the name of a key's environment variable; a key itself is refused and not repeated."""
    name = problems.text(table, "key", what)
    if name is not None and not _ENVIRONMENT_NAME.fullmatch(name):
        problems.add(
            f"{what}: `key` is not the name of an environment variable",
            table.line_of("key"),
            "put the key itself into the environment or a .env file, and only the variable's name here",
        )
        return None
    return name


def _sampling(table: Table, what: str, problems: Problems) -> dict[str, Json]:
    """Return every sampling parameter that is sent."""
    sent: dict[str, Json] = {key: node.value() for key, node in table.entries.items() if key in SAMPLING}
    if "dry_penalty_last_n" in sent:  # llama.cpp dies of a negative one
        sent["dry_penalty_last_n"] = problems.whole_number(table, "dry_penalty_last_n", what, least=0)
    if "max_tokens" in sent:
        sent["max_tokens"] = problems.whole_number(table, "max_tokens", what)
    for key in ("temperature", "top_p", "min_p"):
        if key in sent:
            sent[key] = problems.number(table, key, what)
    extra = problems.table(table.entries.get("extra"), f"{what}: extra")
    if extra is not None:
        for key in sorted(_OURS.intersection(extra.entries)):
            problems.add(f"{what}: extra may not hold {key!r}", extra.line_of(key), "genpool sends it itself")
        sent.update({key: node.value() for key, node in extra.entries.items()})
    for key, value in sent.items():
        try:
            canonical_json(value)  # the pre-image of the model's fingerprint
        except ValueError:
            line = table.line_of(key if key in table.entries else "extra")
            problems.add(f"{what}: {key} has a number that is not finite, or beyond 2^53", line)
    return sent


def _price(table: Table, what: str, problems: Problems) -> Price | None:
    price = problems.table(table.entries.get("price"), f"{what}: price")
    if price is None:
        return None
    problems.known_keys(price, ("input", "output"), f"{what}: price")
    numbers = [problems.number(price, key, f"{what}: price") for key in ("input", "output")]
    if numbers[0] is None or numbers[1] is None:
        problems.add(f"{what}: price needs `input` and `output`", price.line, "in your currency, per million tokens")
        return None
    return Price(numbers[0], numbers[1])


def model_source(entry: ModelEntry, sent: Mapping[str, Json]) -> dict[str, Json]:
    """Return the pre-image of the `model` fingerprint: what decides the output, and nothing else.

    Args:
        entry: The model entry.
        sent: The sampling parameters as they are sent.
    """
    return {**sent, "client": entry.client, "model": entry.model}

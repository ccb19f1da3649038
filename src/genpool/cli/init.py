"""`genpool init`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click


@click.command("init")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--example", is_flag=True, help="Fill it with concepts, templates, rubrics and a cohort to try.")
@click.option("--quiet", "-q", is_flag=True, help="Do not say what to do next.")
def command(directory: Path, *, example: bool, quiet: bool) -> None:
    """Make a new pool.

    DIRECTORY is new or empty; what is there is never changed.
    """
    from genpool.cli.output import one_line
    from genpool.pool import Pool

    _refuse_file(directory)
    pool = Pool.init(directory, example=example)
    print(f"made a pool in {one_line(pool.root)}")
    if quiet:
        return
    if example:
        plan = shlex.join(["genpool", "--pool", str(directory), "plan", "demo"])
        print(f"next: genpool models pull smollm2-135m\n      {plan}")
    else:
        print("next: put concepts, templates and a cohort.yaml into it; `--example` shows how they look")


def _refuse_file(directory: Path) -> None:
    """Refuse a directory that is a file, or would be in one.

    Raises:
        StorageFailed: It is.
    """
    from genpool.errors import StorageFailed

    for path in (directory, *directory.absolute().parents):
        if path.exists() and not path.is_dir():
            raise StorageFailed(f"{path} is a file; nothing was changed", hint="name a new directory")

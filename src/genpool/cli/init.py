"""`genpool init`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("init")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--example", is_flag=True, help="Fill it with concepts, templates, rubrics and a cohort to try.")
def command(directory: Path, *, example: bool) -> None:
    """Make a new pool.

    DIRECTORY is new or empty; what is there is never changed.
    """
    from genpool.pool import Pool

    pool = Pool.init(directory, example=example)
    print(f"made a pool in {pool.root}")
    if example:
        print(f"next: genpool models pull smollm2-135m\n      genpool --pool {directory} plan demo")
    else:
        print("next: put concepts, templates and a cohort.yaml into it; `--example` shows how they look")

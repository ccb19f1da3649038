"""A new pool: empty, or filled with the example that the package ships."""

from __future__ import annotations

import tempfile
from importlib import resources
from pathlib import Path
from typing import Final

from genpool.config import FORMAT
from genpool.durable import flush_directory, make_directory, replace_file, storage_errors
from genpool.errors import StorageFailed
from genpool.gen_ids import SCHEME
from genpool.stages import DEFAULT_PIPELINE

POOL_FILE: Final = "pool.yaml"

_NEW_POOL: Final = f"""\
format: {FORMAT}
id_scheme: {SCHEME}
salt: ""            # two pools that must never share ids differ in it; fixed for good
pipeline:
  draft:      {{prefix: d, axes: [template, model], replicates: 1}}
  essay:      {{prefix: e, parent: draft, axes: [template]}}
  evaluation: {{prefix: v, parent: essay, axes: [template, model], replicates: 2, judges: true}}
models:
  # name: a provider's model with its sampling parameters
  smollm2-135m: {{client: embedded, model: smollm2-135m, temperature: 0.8, max_tokens: 400}}
  # gemini-25-pro: {{client: openai, base_url: "https://…/v1", key: MY_API_KEY, model: google/gemini-2.5-pro,
  #                 temperature: 0.7, max_tokens: 4000, concurrency: 16, price: {{input: 1.25, output: 10}}}}
"""


def make_pool(target: Path, *, example: bool) -> None:
    """Make a new pool in a directory that is new or empty.

    Args:
        target: The directory.
        example: Whether to fill it with the example: concepts, templates, a cohort.

    Raises:
        StorageFailed: The directory is not empty, is a file, or cannot be written; nothing is left behind.
    """
    if target.is_dir() and any(target.iterdir()):
        what = "is a pool already" if (target / POOL_FILE).is_file() else "is not empty"
        raise StorageFailed(f"{target} {what}; nothing was changed", hint="name a new directory")
    denied = "name a directory in a folder that you may write to"
    with storage_errors(f"cannot make a pool in {target}", denied=denied):
        make_directory(target.absolute().parent)
        with tempfile.TemporaryDirectory(prefix=".genpool-init-", dir=target.absolute().parent) as temporary:
            made = Path(temporary) / "pool"
            if example:
                _copy_example(made)
            else:
                _new_pool(made)
            target.mkdir(exist_ok=True)
            for path in sorted(made.iterdir(), key=lambda one: one.name == POOL_FILE):
                path.rename(target / path.name)  # pool.yaml last: half a pool is none
        flush_directory(target)


def _new_pool(target: Path) -> None:
    """Write an empty pool."""
    folders = ("concepts", "cohorts", *(f"templates/{stage.name}" for stage in DEFAULT_PIPELINE))
    for folder in folders:
        make_directory(target / folder)
    replace_file(target / POOL_FILE, _NEW_POOL.encode())


def _copy_example(target: Path) -> None:
    """Copy the example pool that the package ships."""
    with resources.as_file(resources.files("genpool") / "example") as example:
        for path in sorted(example.rglob("*")):
            if path.is_file():
                replace_file(target / path.relative_to(example), path.read_bytes())

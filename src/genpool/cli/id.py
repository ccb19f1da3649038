"""`genpool id`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from genpool.aliases import Aliases
    from genpool.stages import Pipeline


@click.command("id")
@click.argument("stage")
@click.argument("fields", nargs=-1, metavar="FIELD=VALUE...")
@click.option("--explain", is_flag=True, help="Also print the text whose SHA-256 is the id.")
@click.option("--salt", help="The salt, instead of the pool's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def command(
    root: str | None, stage: str, fields: tuple[str, ...], *, explain: bool, salt: str | None, as_json: bool
) -> None:
    """Print the id of a task.

    STAGE and the FIELDs are the task's signature, for instance: genpool id draft combo_id=combo-1
    template_id=creative-v2 llm_model_id=smollm2-135m replicate=1

    In a pool its pipeline and salt are used, elsewhere the default pipeline without a salt. No generation is
    read: an id needs no store. A parent may be given by an id that it had before a migration.
    """
    from genpool.cli.arguments import typed_fields
    from genpool.gen_ids import SCHEME, canonical_text, gen_id
    from genpool.signatures import Signature

    pipeline, pool_salt, aliases = _pool(root)
    used_salt = pool_salt if salt is None else salt
    signature = Signature.of(pipeline[stage], typed_fields(fields))
    signature = aliases.signature(signature) if aliases else signature
    made = gen_id(signature, used_salt)
    if as_json:
        from genpool.cli.output import print_json

        print_json(
            {
                "gen_id": made,
                "id_scheme": SCHEME,
                "stage": stage,
                "signature": signature.as_dict(),
                "canonical": canonical_text(signature, used_salt),
            }
        )
        return
    print(made)
    if explain:
        print(canonical_text(signature, used_salt))


def _pool(root: str | None) -> tuple[Pipeline, str, Aliases | None]:
    """Return pipeline, salt and aliases of the pool at hand, else the default ones."""
    from genpool.aliases import read_aliases
    from genpool.errors import NotAPool
    from genpool.pool import Pool
    from genpool.stages import DEFAULT_PIPELINE

    try:
        pool = Pool.find(root)
    except NotAPool:
        if root:
            raise
        return DEFAULT_PIPELINE, "", None
    return pool.config.pipeline, pool.config.salt, read_aliases(pool.layout)

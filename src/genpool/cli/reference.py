"""Write docs/cli.md from the commands themselves: `python -m genpool.cli.reference`."""

from __future__ import annotations

import click

from genpool.cli.main import VERBS, cli

_HEAD = """# The command line

Written by `make docs` from the commands themselves; a test keeps it true.

Exit codes: 0 done, 1 error, 2 usage, 3 incomplete, 130 interrupted. Errors go to standard error as `error:` and
`hint:` lines; with `--json` they come as a document `{"error": {"kind", "message", "hint"}}` on standard output.
Colours are left out when `NO_COLOR` is set. `GENPOOL_POOL` names the pool, `GENPOOL_MODELS` the folder of weights.
"""


def reference() -> str:
    """Return the reference of every command, in Markdown."""
    root = click.Context(cli, info_name="genpool", terminal_width=100, help_option_names=["-h", "--help"])
    parts = [_HEAD, _section("genpool", cli, root)]
    for name in VERBS:
        command = cli.get_command(root, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=root, terminal_width=100)
        parts.append(_section(f"genpool {name}", command, context))
        if isinstance(command, click.Group):
            for inner, one in command.commands.items():
                inside = click.Context(one, info_name=inner, parent=context, terminal_width=100)
                parts.append(_section(f"genpool {name} {inner}", one, inside))
    return "\n".join(parts)


def _section(title: str, command: click.Command, context: click.Context) -> str:
    return f"## {title}\n\n```text\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    print(reference(), end="")

"""Write docs/cli.md from the commands themselves: `python -m genpool.cli.reference`."""

from __future__ import annotations

import click

from genpool.cli.main import VERBS, cli

_HEAD = """# The command line

Written by `make docs` from the commands themselves; a test keeps it true.

Exit codes: 0 done, 1 error, 2 usage, 3 incomplete, 130 interrupted.

- 2 is a command line that is wrong whatever the pool holds: an unknown command or option, a word missing, options that
  exclude each other.
- 1 is everything that is wrong with what it names, which may be right in another pool: no such pool, cohort, stage,
  field, level, rubric or id, a spec that is not usable, a damaged file, a disk that refuses. `ls` and `status` end with
  1 where they can read some cohorts and not others.
  `doctor` ends with 1 where something is wrong and was not mended.
- Whoever reads the output may leave (`| head`): nothing is said, a run goes on, and its exit code is what it came to.

Errors go to standard error as `error:` and `hint:` lines; with `--json` they come as a document
`{"error": {"kind", "message", "hint"}}` on standard output.

| environment variable | |
|---|---|
| `GENPOOL_POOL` | the pool, where `--pool` does not name one |
| `GENPOOL_MODELS` | the folder of weights |
| `GENPOOL_TRACEBACK` | set to anything: an error is raised with its traceback, for a report of a defect |
| `NO_COLOR` | set to anything: no colours and no bold |
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

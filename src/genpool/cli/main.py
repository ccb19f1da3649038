"""The command `genpool`: which verbs there are, and the boundary at which every error becomes a message.

Exit codes: 0 done, 1 error, 2 usage, 3 incomplete, 130 interrupted; docs/cli.md says where the line is between 1 and 2.
A verb's module is imported when the verb is called, so that `--help` stays quick.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
from contextlib import contextmanager, suppress
from traceback import walk_tb
from typing import TYPE_CHECKING, Final, TextIO

import click

from genpool import __version__
from genpool.errors import GenpoolError, InputError, StorageFailed, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from sys import UnraisableHookArgs
    from types import FrameType

VERBS: Final = {
    "init": "Make a new pool.",
    "id": "Print the id of a task.",
    "plan": "Say what a run would make, without making it.",
    "why": "Say why a task is reused or to be made.",
    "run": "Make what a cohort lacks.",
    "drift": "Show, accept or make anew what names stand for now, against then.",
    "status": "Say how cohorts stand.",
    "missing": "List what a cohort lacks, as data that a run accepts.",
    "fill-gaps": "Print the spec that makes levels of an axis comparable.",
    "ls": "List cohorts, or the generations of one, or of the pool.",
    "show": "Show one generation: its texts and what led to them.",
    "scores": "Say how texts were judged: means by any axes, the best texts.",
    "tables": "Write the tables of scores as Parquet and CSV.",
    "export": "Write texts with their lineage and scores, as JSON lines and Parquet.",
    "report": "Say what was learnt, and write it as a page.",
    "diff": "Set two cohorts side by side: spec, members, drift, scores.",
    "manifest": "Make, check or remove the caches of how cohorts' members stand.",
    "purge": "Move a cohort, and what only it reaches, to the trash.",
    "trash": "List what was removed, and take it back.",
    "migrate": "Give generations with ids of another making the ids of today.",
    "doctor": "Check the whole pool, and mend what is safe.",
    "audit": "Give an account of everything bought.",
    "reparse": "Read unreadable answers anew when a parser was mended.",
    "models": "List models, and fetch the weights of embedded ones.",
}
"""Every verb and its first line of help, in the order in which a newcomer needs them."""

INTERRUPTED: Final = 130

_DISK: Final = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}

_UNWRITABLE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}
"""What standard output fails with; the same from a file of the pool comes as a `StorageFailed`."""

_OF_THE_MACHINE: Final = {errno.EIO, errno.EINTR, errno.EMFILE, errno.ENFILE, errno.ENOMEM, *_DISK}
"""What can befall any call, so that it is no defect where nobody foresaw it."""


class _ReaderLeft(Exception):
    """Whoever read standard output has left; click would make an exit code of its own of a broken pipe."""


class _OutputLost(GenpoolError):
    """Standard output cannot be written, so that this is told on standard error."""


class Verbs(click.Group):
    """The group of all verbs; each is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs' names."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a verb, or fail with the nearest name."""
        if cmd_name not in VERBS:
            raise click.UsageError(f"no command is named {cmd_name!r}; {nearest(cmd_name, VERBS)}", ctx)
        if cmd_name in _READERS:
            _warn_of_migration(ctx.params.get("pool"))
        command: click.Command = importlib.import_module(f"genpool.cli.{cmd_name.replace('-', '_')}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Call the verb; the commands in its error's hint are for the same pool."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _ReaderLeft from None
        except GenpoolError as error:
            from genpool.cli.arguments import for_this_pool

            error.hint = for_this_pool(error.hint, ctx.obj)
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


_READERS: Final = frozenset("status ls show why missing scores tables export report diff fill-gaps".split())
"""Verbs that answer while a migration is half done: what they say may be half of it."""


def _warn_of_migration(root: str | None) -> None:
    """Say on standard error where a part of the pool has new ids and a part has not."""
    from genpool.config import find_root

    with suppress(GenpoolError):
        if not (find_root(root) / "migrations").is_dir():
            return
        from genpool.cli.arguments import for_this_pool
        from genpool.cli.output import shown
        from genpool.layout import PoolLayout
        from genpool.migration.waiting import refuse_while_half_done

        try:
            refuse_while_half_done(PoolLayout(find_root(root)))
        except GenpoolError as error:
            print(f"warning: {shown(error.message)}; {for_this_pool(error.hint, root)}", file=sys.stderr)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--pool", "-C", metavar="DIR", help="The pool; else GENPOOL_POOL, else the nearest at or above here.")
@click.version_option(__version__, "--version", "-V", prog_name="genpool")
@click.pass_context
def cli(ctx: click.Context, pool: str | None) -> None:
    """Factorial experiments with language models, reused by what they are.

    A generation's id is a function of its task, so a cohort is a selection from one pool: what exists is
    reused, whoever made it, and only what is missing is made.

    Start with: genpool init my-pool --example
    """
    ctx.obj = pool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code. Never a traceback: see `GENPOOL_TRACEBACK`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _carried_out(words)
    except click.exceptions.NoArgsIsHelpError as bare:
        bare.show()
        return bare.exit_code
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # the boundary
        if os.environ.get("GENPOOL_TRACEBACK"):
            raise
        return _tell(error, as_json="--json" in words)


def _carried_out(words: list[str]) -> int:
    """Run the command line; tell what standard output refuses from what the pool's files refuse."""
    try:
        code = cli.main(args=words, prog_name="genpool", standalone_mode=False)
        sys.stdout.flush()
    except _ReaderLeft:
        give_up(sys.stdout)
        return 0
    except BrokenPipeError:
        give_up(sys.stdout)
        return 0
    except OSError as error:
        if isinstance(error, GenpoolError) or error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        if _is_of_the_library(error):
            raise
        give_up(sys.stdout)
        raise _OutputLost(f"standard output cannot be written: {error.strerror}") from None
    return code if isinstance(code, int) else 0


def _is_of_the_library(error: OSError) -> bool:
    """Return whether an error arose outside the command line: the library prints nothing."""
    names = [str(frame.f_globals.get("__name__")) for frame, _ in walk_tb(error.__traceback__)]
    own = [name for name in names if name.startswith("genpool.")]
    return bool(own) and not own[-1].startswith("genpool.cli")


def give_up(stream: TextIO) -> None:
    """Let a stream lead nowhere: whoever read it has left, or it cannot be written."""
    with suppress(OSError, ValueError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Go on, silently, where whoever reads standard output leaves while something is printed."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        give_up(sys.stdout)


def _tell(error: Exception, *, as_json: bool) -> int:
    """Print an error for a person or a machine; return its exit code."""
    ours = as_ours(error)
    with suppress(OSError):  # nobody is there to be told
        if as_json and not isinstance(error, _OutputLost):
            from genpool.cli.output import print_json

            print_json({"error": ours.as_json()})
            sys.stdout.flush()
        else:
            _print_error(ours)
    return ours.exit_code


def as_ours(error: Exception) -> GenpoolError:
    """Return the error that a person is told of."""
    if isinstance(error, click.ClickException):
        return _UsageMessage(error)
    if isinstance(error, GenpoolError):
        return error
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        place = f" ({os.fspath(error.filename)})" if isinstance(error.filename, str) else ""
        hint = "`ulimit -n` says how many files may be open" if error.errno == errno.EMFILE else None
        return StorageFailed(f"the system refused: {error.strerror}{place}", hint=hint)
    return GenpoolError(
        f"{type(error).__name__}: {error}",
        hint="this is a defect of genpool: please report it, with what GENPOOL_TRACEBACK=1 prints",
    )


def _print_error(error: GenpoolError) -> None:
    from genpool.cli.output import shown

    label, hint_label = ("\033[1;31merror:\033[0m", "\033[1;36mhint:\033[0m") if _colours() else ("error:", "hint:")
    print(f"{label} {shown(error.message)}", file=sys.stderr)
    for problem in error.problems if isinstance(error, InputError) else ():
        print(f"  {shown(str(problem))}", file=sys.stderr)
        if problem.hint:
            print(f"    {hint_label} {shown(problem.hint)}", file=sys.stderr)
    if error.hint:
        print(f"{hint_label} {shown(error.hint)}", file=sys.stderr)


def _colours() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class _UsageMessage(GenpoolError):
    """What click says of a wrong call."""

    kind = "usage"
    exit_code = 2

    def __init__(self, error: click.ClickException) -> None:
        context = getattr(error, "ctx", None)
        hint = f"`{context.command_path} --help` shows how to call it" if context else None
        super().__init__(error.format_message().rstrip("."), hint=hint)


def run() -> None:
    """Run the command line and exit.

    The first Ctrl-C is told; a second one ends the process at once, wherever it is: nothing that is kept can be torn.
    """
    interrupted_once()
    sys.unraisablehook = _unraisable
    try:
        code = main()
    except KeyboardInterrupt:  # another one, while the one before it was told
        code = INTERRUPTED
    if code == INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is ending as it was asked to
    sys.exit(code)


def interrupted_once() -> None:
    """Let the next Ctrl-C raise `KeyboardInterrupt`, and one after it end the process without a traceback.

    Where Ctrl-C is ignored (a job in the background), or something else handles it, it stays so.
    """
    if signal.getsignal(signal.SIGINT) in {signal.default_int_handler, signal.SIG_DFL}:
        signal.signal(signal.SIGINT, _interrupted)


def _interrupted(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt


def _unraisable(told: UnraisableHookArgs) -> None:
    """End the process where a Ctrl-C came in the middle of what raises nothing (the import of a module, say)."""
    if isinstance(told.exc_value, KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)  # the second one
    sys.__unraisablehook__(told)


if __name__ == "__main__":
    run()

"""`python -m genpool`, and the command `genpool`."""

import _signal  # type: ignore[import-not-found]  # of `signal`, which takes a moment to import: Ctrl-C may come in it

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    # until `run` can tell of a Ctrl-C, it ends the process without a word
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import orjson  # noqa: F401 - interrupted in its import, orjson 3.11 ends the process with a segmentation fault

from genpool.cli.main import run

if __name__ == "__main__":
    run()

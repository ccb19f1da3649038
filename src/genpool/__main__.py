"""`python -m genpool`, and the command `genpool`."""

import _signal  # `signal` takes a moment to import, in which Ctrl-C may come

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(
        _signal.SIGINT, _signal.SIG_DFL
    )  # until `run` can tell of it, Ctrl-C ends the process without a word

from genpool.cli.main import run

if __name__ == "__main__":
    run()

"""`python -m genpool` is the command `genpool`."""

from genpool.cli.main import run

run()

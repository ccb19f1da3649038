"""genpool: factorial experiments with language models, reused by what they are.

A generation's id is a function of its task, so a cohort is a selection from one pool,
what exists is reused, and only what is missing is made. Start at `genpool.pool.Pool`.
"""

__version__ = "0.1.0"

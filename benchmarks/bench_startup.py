"""How long a command takes to start: `--help`, and a run with nothing to do, beside `python -c pass`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from genpool.pool import Pool
from genpool.testing import ScriptedModel
from measure import best_of, print_table

ROUNDS = 9


def call(*words: str) -> None:
    """Run a command to its end."""
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        root = str(Path(folder) / "pool")
        pool = Pool.init(root, example=True)
        report = pool.run("demo", models={name: ScriptedModel() for name in pool.config.models})
        assert report.complete
        times = best_of(
            ROUNDS,
            {
                "python -c pass": lambda: call("-c", "pass"),
                "genpool --help": lambda: call("-m", "genpool", "--help"),
                "genpool plan demo": lambda: call("-m", "genpool", "--pool", root, "plan", "demo"),
                "genpool run demo, nothing to do": lambda: call("-m", "genpool", "--pool", root, "run", "demo"),
            },
        )
    floor = times["python -c pass"]
    rows = [[name, f"{seconds * 1e3:.0f}", f"{(seconds - floor) * 1e3:.0f}"] for name, seconds in times.items()]
    print_table(f"start-up, whole processes (best of {ROUNDS})", ["", "ms", "more than python"], rows)


if __name__ == "__main__":
    main()

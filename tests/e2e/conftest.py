"""The real embedded model, and llama.cpp's own server on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from genpool.llm.weights import KNOWN, path_of, pull
from genpool.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVE = """
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_parallel, params.warmup, params.verbosity = 4096, 2, False, -1
params.hostnames, params.api_keys = ["127.0.0.1"], ["test-key-5f1c"]
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
time.sleep(600)
"""

SMALL = """\
format: genpool.cohort/1
draft:
  combo: {concepts: [mind-wandering, data-flywheel], size: 2, level: sentence}
  template: [baseline]
  model: [smollm2-135m]
essay: {template: [narrative, as-drafted]}
evaluation: {template: [novelty], model: [smollm2-135m-judge], replicates: 2}
"""


@pytest.fixture(scope="session")
def weights() -> Path:
    """The weights of the smallest model; fetched if they are not here."""
    if not path_of(KNOWN["smollm2-135m"]).is_file():
        pull("smollm2-135m", lambda *_: None)
    return path_of(KNOWN["smollm2-135m"])


@pytest.fixture(scope="session")
def server(weights: Path) -> Iterator[str]:
    """The base URL of llama.cpp's server, in a process of its own."""
    running = subprocess.Popen([sys.executable, "-c", SERVE, str(weights)], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    try:
        yield running.stdout.readline().strip() + "/v1"
    finally:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        running.stdout.close()


@pytest.fixture
def pool(tmp_path: Path, weights: Path) -> Pool:
    """The example pool with a cohort of six calls."""
    made = Pool.init(tmp_path / "pool", example=True)
    (made.root / "cohorts/small").mkdir()
    (made.root / "cohorts/small/cohort.yaml").write_text(SMALL)
    return made

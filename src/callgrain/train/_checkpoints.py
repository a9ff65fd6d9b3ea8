"""Checkpoints that are complete or absent, whenever the process dies.

One is written to a folder of another name, every file is handed to the disk, a manifest with sizes
and hashes is written last, and only then the folder gets its name. What cannot be read whole is
passed over for the one before, with a word to the user.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from callgrain.core.errors import BadInput
from callgrain.core.rows import read_json
from callgrain.core.store import write_json

COMPLETE = "COMPLETE"
"""File of a whole checkpoint, written last: its manifest, `{"files": {name: [bytes, sha256]}, ...}`."""

KEPT = 2
"""Checkpoints that are kept: the newest, and one to fall back on."""

_PREFIX = "checkpoint-"


def draft(folder: Path) -> Path:
    """The folder that the next checkpoint is written to; what a kill left there is removed."""
    place = folder / ".draft"
    if place.exists():
        shutil.rmtree(place)
    place.mkdir(parents=True)
    return place


def seal(written: Path, folder: Path, step: int, notes: dict[str, Any]) -> Path:
    """Make the checkpoint of `step` in `folder` out of what was written; older ones but one are removed."""
    files = {str(path.relative_to(written)): _sealed(path) for path in sorted(written.rglob("*")) if path.is_file()}
    for place in [written, *(path for path in written.rglob("*") if path.is_dir())]:
        _sync(place)
    write_json(written / COMPLETE, {"step": step, "files": files, **notes})
    target = folder / f"{_PREFIX}{step}"
    if target.exists():
        shutil.rmtree(target)
    written.rename(target)
    _sync(folder)
    for old in found(folder)[KEPT:]:
        shutil.rmtree(old)
    return target


def found(folder: Path) -> list[Path]:
    """Checkpoints by name, the newest first, whole or not."""
    steps = {path: path.name.removeprefix(_PREFIX) for path in folder.glob(f"{_PREFIX}*")}
    return sorted((p for p, step in steps.items() if step.isdigit()), key=lambda p: -int(steps[p]))


def newest(folder: Path, say: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
    """The newest whole checkpoint with its manifest; None where there is none. `say` hears of damaged ones."""
    for place in found(folder):
        manifest = _manifest(place)
        if isinstance(manifest, dict):
            return place, manifest
        say(f"{place.name} is damaged ({manifest}): passed over")
    return None


def _manifest(place: Path) -> dict[str, Any] | str:
    """The manifest of a whole checkpoint, or what is wrong with it."""
    try:
        read: Any = read_json(place / COMPLETE)
    except (BadInput, OSError):
        return f"no readable {COMPLETE}"
    manifest = cast("dict[str, Any]", read) if isinstance(read, dict) else {}
    files: Any = manifest.get("files")
    if not isinstance(files, dict) or not files:
        return f"no list of files in {COMPLETE}"
    for name, wanted in cast("dict[str, Any]", files).items():
        path = place / name
        if not path.is_file():
            return f"{name} is missing"
        if list(_print(path)) != wanted:
            return f"{name} is not what was written"
    return manifest


def _sealed(path: Path) -> tuple[int, str]:
    _sync(path)
    return _print(path)


def _print(path: Path) -> tuple[int, str]:
    """Size and hash of a file."""
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

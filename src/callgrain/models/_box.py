"""Where the model in the box lies."""

from __future__ import annotations

from pathlib import Path

BOXED = "tiny"
"""How it is named where a model's folder is asked for."""


def box() -> Path:
    """Folder of the decoder that ships with the package."""
    return Path(__file__).parent.parent / "box"


def folder_of(model: str) -> Path:
    """The folder that `model` names: the box for `tiny`, unless a folder of that name is here."""
    return box() if model == BOXED and not Path(model).is_dir() else Path(model).expanduser()

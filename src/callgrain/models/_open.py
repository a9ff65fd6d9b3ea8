"""Opening a model by its MODEL spec: `scripted:...`, `local:...`, `remote:NAME@URL`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from callgrain.core import plugins
from callgrain.core.canonical import content_key
from callgrain.core.protocols import Model
from callgrain.models._box import folder_of


def open_model(spec: str, **options: Any) -> Model:
    """The model behind `spec`; options that a back end does not take are refused by it.

    Raises UnknownName for an unknown back end, BrokenModel where it cannot be loaded or reached.
    """
    name, rest = plugins.split_spec(spec)
    return plugins.load("models", name)(rest, **{k: v for k, v in options.items() if v is not None})


def weights_key(model: str) -> str:
    """What tells two states of one model folder apart: size and time of its files; a hub id stands for itself.

    `model` is a folder, or a MODEL spec with one behind its name.
    """
    folder = folder_of(model)
    if not folder.is_dir():
        rest = model.partition(":")[2].partition(",")[0]
        folder = Path(rest)
        if not rest or not folder.is_dir():
            return model
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".safetensors", ".json", ".gguf"))
    return content_key([(str(p.relative_to(folder)), p.stat().st_size, p.stat().st_mtime_ns) for p in files])

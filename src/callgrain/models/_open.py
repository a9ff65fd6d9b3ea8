"""Opening a model by its MODEL spec: `scripted:...`, `local:...`, `remote:NAME@URL`."""

from __future__ import annotations

from typing import Any

from callgrain.core import plugins
from callgrain.core.protocols import Model


def open_model(spec: str, **options: Any) -> Model:
    """The model behind `spec`; options that a back end does not take are refused by it.

    Raises UnknownName for an unknown back end, BrokenModel where it cannot be loaded or reached.
    """
    name, rest = plugins.split_spec(spec)
    return plugins.load("models", name)(rest, **{k: v for k, v in options.items() if v is not None})

"""Recipes: frozen settings beside their consumer; TOML and flags are made from their fields.

The description of a field is its help on the command line, in the docs and on the page.
Order of settings: defaults < recipe file < flags. Unknown keys are errors with a suggestion.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from callgrain.core.errors import BadInput, UnknownName


class Recipe(BaseModel):
    """Settings of one run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def resolve(cls, *layers: Mapping[str, Any]) -> Self:
        """The recipe after laying `layers` over the defaults; a later layer wins, None says nothing.

        Raises UnknownName for a key that is no field, BadInput for a value that does not fit.
        """
        merged: dict[str, Any] = {}
        for layer in layers:
            for key, value in layer.items():
                if key not in cls.model_fields:
                    raise UnknownName(f"key of the {cls.caption()} recipe", key, cls.model_fields)
                if value is not None:
                    merged[key] = value
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the recipe"
            field = cls.model_fields.get(str(first["loc"][0])) if first["loc"] else None
            remedy = field.description or "" if field else ""
            if first["type"] == "missing":
                raise BadInput(f"{where}: a value is needed", remedy) from error
            raise BadInput(f"{where}: {first['msg']} (given {first.get('input')!r})", remedy) from error

    @classmethod
    def caption(cls) -> str:
        """`"TrainRecipe"` -> `"train"`."""
        return cls.__name__.removesuffix("Recipe").lower()


def read_toml(path: Path) -> dict[str, Any]:
    """The recipe file at `path`. Raises BadInput with the place."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"there is no recipe {str(path)!r}", "callgrain ls recipes shows the built-in ones") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: {error}", "mend the TOML there") from error
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}", "check the path") from error


def to_toml(values: Mapping[str, Any], comments: Mapping[str, str] | None = None) -> str:
    """Flat settings as TOML, each with its comment above it; nested tables one level deep."""
    notes = comments or {}
    lines: list[str] = []
    tables: list[tuple[str, Mapping[str, Any]]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            tables.append((key, value))
            continue
        lines += [f"# {line}" for line in notes.get(key, "").splitlines()]
        lines.append(f"{key} = {_toml_value(value)}")
    for key, table in tables:
        lines += ["", *(f"# {line}" for line in notes.get(key, "").splitlines()), f"[{key}]"]
        lines += [f"{name} = {_toml_value(value)}" for name, value in table.items()]
    return "\n".join(lines) + "\n"


def _toml_value(value: Any) -> str:
    import json

    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(v) for v in value) + "]"
    return json.dumps(str(value), ensure_ascii=False)

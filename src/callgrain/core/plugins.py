"""Plug-in lookup: one file is one plug-in, and its name is its id.

A family is a room. A module of that room without a leading underscore is a plug-in; what it
offers is the object named `plugin` in it (a class, or an instance). Third parties add theirs
by entry points of the group `callgrain.<family>`. Nothing is imported before it is asked for.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from functools import cache
from pathlib import Path
from typing import Any

from callgrain.core.errors import CallgrainError, UnknownName

FAMILIES: tuple[str, ...] = (
    "tools", "dialects", "compat", "models", "sources", "subtasks", "records", "probes", "retrievers",
    "panels", "train", "export",
)  # fmt: skip
"""Rooms in which a file is a plug-in."""

_ROOMS = {"compat": "verify.compat"}
"""Families whose room stands inside another."""


@cache
def names(family: str) -> tuple[str, ...]:
    """Ids of every plug-in of `family`, built in and third-party, sorted. Raises UnknownName."""
    if family not in FAMILIES:
        raise UnknownName("family", family, FAMILIES)
    room = importlib.import_module(_module(family))
    own = {m.name for m in pkgutil.iter_modules(room.__path__) if not m.name.startswith("_")}
    others = {e.name for e in importlib.metadata.entry_points(group=f"callgrain.{family}")}
    return tuple(sorted(own | others))


@cache
def load(family: str, name: str) -> Any:
    """The plug-in `name` of `family`. Raises UnknownName with suggestions."""
    if name not in names(family):
        raise UnknownName(family.removesuffix("s"), name, names(family))
    for entry in importlib.metadata.entry_points(group=f"callgrain.{family}"):
        if entry.name == name:
            return entry.load()
    module = importlib.import_module(f"{_module(family)}.{name}")
    if not hasattr(module, "plugin"):
        raise CallgrainError(f"callgrain.{family}.{name} has no `plugin`", "name what the file offers `plugin`")
    return module.plugin


def caption(family: str, name: str) -> str:
    """First line of the plug-in's docstring: what `callgrain ls` prints."""
    if (found := _own_doc(family, name)) is None:
        found = load(family, name).__doc__ or ""
    return found.strip().splitlines()[0].strip() if found.strip() else ""


def _own_doc(family: str, name: str) -> str | None:
    """Docstring of a built-in plug-in's file, read without importing it (torch stays out)."""
    import ast
    from importlib.util import find_spec

    spec = find_spec(f"{_module(family)}.{name}")
    if spec is None or not spec.origin:
        return None
    return ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))


def _module(family: str) -> str:
    return f"callgrain.{_ROOMS.get(family, family)}"


def split_spec(spec: str) -> tuple[str, str]:
    """`"bfcl:/data/x"` -> `("bfcl", "/data/x")`; `"tiny"` -> `("tiny", "")`; options of the plug-in are passed over."""
    head, _, rest = spec.partition(":")
    return head.partition(",")[0], rest


def opened(family: str, spec: str) -> Any:
    """What the plug-in named by `NAME[,option=value...]:REST` makes of REST.

    A plug-in that takes options lists them with their defaults in its `options`: they are handed on by
    name. So one spec may wrap another (`masked,seed=3:sgd:FOLDER`). Raises UnknownName, CallgrainError.
    """
    head, _, rest = spec.partition(":")
    name, _, given = head.partition(",")
    plugin = load(family, name)
    chosen = options(name, given, dict(getattr(plugin, "options", {}))) if given else {}
    return plugin(rest, **chosen)


def options(family: str, rest: str, known: dict[str, Any]) -> dict[str, Any]:
    """`"micro,seed=3"` -> options over the defaults in `known`; a bare word sets its flag.

    Values take the type of their default. Raises UnknownName for a key that is not in
    `known`, CallgrainError for a value of the wrong type.
    """
    out = dict(known)
    for part in filter(None, (p.strip() for p in rest.split(","))):
        key, eq, text = part.partition("=")
        if key not in known:
            raise UnknownName(f"option of {family}", key, known)
        kind = type(known[key])
        if not eq and kind is not bool:
            raise CallgrainError(f"{family}: option {key!r} wants a value", f"write {key}={known[key]}")
        try:
            out[key] = (text.lower() in ("", "1", "true", "yes")) if kind is bool else kind(text)
        except ValueError as error:
            raise CallgrainError(
                f"{family}: {key}={text!r} is no {kind.__name__}", f"write {key}={known[key]}"
            ) from error
    return out

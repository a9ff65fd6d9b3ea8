"""Turning a recipe into a verb: its fields are the flags, their descriptions the help."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from callgrain.cli._terminal import Terminal
from callgrain.core.errors import UnknownName
from callgrain.core.recipe import Recipe, read_toml
from callgrain.core.store import home

Work = Callable[[Any, Terminal], None]


def recipe_verb(
    recipe: type[Recipe],
    work: Work,
    *,
    positional: str | None = None,
    file_first: bool = False,
    resolve: type[Recipe] | None = None,
) -> Callable[..., None]:
    """A command whose flags are the fields of `recipe`; `positional` names the field given without a flag.

    Every verb also takes a recipe (`--recipe`, a file or a built-in name, or as its argument with
    `file_first`), over which flags win, and `--out`, `--json`, `--quiet`. `resolve` is the recipe that the
    settings become where a file may say more than the flags can.
    """

    def command(**given: Any) -> None:
        terminal = Terminal(as_json=given.pop("json"), quiet=given.pop("quiet"), out=given.pop("out") or home())
        file = given.pop("recipe")
        layers = [read_toml(recipe_file(file))] if file else []
        work((resolve or recipe).resolve(*layers, given), terminal)

    parameters = [_field(name, info, positional == name) for name, info in recipe.model_fields.items()]
    parameters += shared(recipe=True, first=file_first)
    parameters.sort(key=lambda p: p.name != ("recipe" if file_first else positional))
    vars(command)["__signature__"] = inspect.Signature(parameters)
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def builtin_recipes() -> list[Path]:
    """The recipe files that ship in the package."""
    return sorted((Path(__file__).parent.parent / "recipes").glob("*.toml"))


def recipe_file(given: Path) -> Path:
    """The recipe that is meant: a path that is there, else the built-in one of that name.

    Raises UnknownName for a bare name that is neither; what looks like a path is left to its reader.
    """
    if given.parent != Path() or (given.exists() and not given.is_dir()):
        return given
    known = {path.stem: path for path in builtin_recipes()}
    if given.suffix not in ("", ".toml") or (given.suffix and given.stem not in known):
        return given
    if given.stem not in known:
        raise UnknownName("recipe", str(given), known)
    return known[given.stem]


def shared(*, recipe: bool = False, first: bool = False) -> list[inspect.Parameter]:
    """The flags that every verb has."""
    flags: list[tuple[str, Any, Any]] = [
        ("out", Annotated[Path | None, typer.Option(help="folder for run folders (default ./runs)")], None),
        (
            "json",
            Annotated[bool, typer.Option("--json", help="machine-readable result on stdout, nothing else")],
            False,
        ),
        ("quiet", Annotated[bool, typer.Option("--quiet", help="no progress")], False),
    ]
    if recipe:
        text = "settings in TOML: a file, or a name out of `callgrain ls recipes`; flags win"
        mark: Any = typer.Argument(metavar="[RECIPE]", help=text) if first else typer.Option(help=text)
        flags.insert(0, ("recipe", Annotated[Path | None, mark], None))
    return [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d, annotation=a) for n, a, d in flags]


def _field(name: str, info: Any, is_argument: bool) -> inspect.Parameter:
    """A flag (or argument) for one field. None says "not given", so that a recipe file can speak."""
    default = "" if info.is_required() else f" [{info.default}]" if info.default != "" else ""
    text = f"{info.description}{default}"
    kind: Any = info.annotation
    if is_argument:
        mark: Any = typer.Argument(help=text, metavar=name.upper(), show_default=False)
    elif kind is bool:
        mark = typer.Option(f"--{name.replace('_', '-')}/--no-{name.replace('_', '-')}", help=text, show_default=False)
    else:
        mark = typer.Option(f"--{name.replace('_', '-')}", help=text, show_default=False)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, mark]
    )

"""One training run: its folder, its method, its end."""

from __future__ import annotations

import os
from pathlib import Path

from callgrain.core import plugins
from callgrain.core.errors import BadInput
from callgrain.core.progress import Tell, silent
from callgrain.core.protocols import Method
from callgrain.core.store import Run
from callgrain.models._open import weights_key
from callgrain.train._recipe import TrainRecipe

_UNNAMED = {"threads", "save_steps", "model", "rows", "pairs"}
"""What only changes speed; and paths, for which their content stands: a folder of runs may be moved."""


def method_of(name: str) -> Method:
    """The training method of that name. Raises UnknownName."""
    return plugins.load("train", name)()


def train(recipe: TrainRecipe, root: Path, *, tell: Tell = silent) -> Run:
    """Run (or resume) a training; `model/` in its folder is the result. Raises CallgrainError.

    Under a launcher every process comes here; what the others return may not be finished yet.
    """
    method = method_of(recipe.method)
    if not isinstance(recipe, method.settings):
        recipe = method.settings.resolve(recipe.model_dump())
    inputs = {**method.inputs(recipe), "model": weights_key(recipe.model), "seed": recipe.seed}
    if int(
        os.environ.get("RANK", "0")
    ):  # set by torch's launchers: the first process holds the folder and ends the run
        run = Run.beside(root, "train", recipe.method, recipe.model_dump(), inputs, unnamed=_UNNAMED)
        if not run.is_done:
            method.train(recipe, run, silent)
        return run
    with Run.open(root, "train", recipe.method, recipe.model_dump(), inputs, unnamed=_UNNAMED) as run:
        if not run.is_done:
            model = method.train(recipe, run, tell)
            done = run.read("training")
            run.finish({"model": str(model), **{k: v for k, v in done.items() if k not in ("loss", "meters")}})
    return run


def rows_of(recipe: TrainRecipe) -> Run:
    """The build whose rows a method trains on. Raises BadInput where none is named."""
    if not recipe.rows:
        raise BadInput(
            "there are no rows to train on", "give --rows the folder of a build, or a recipe with a [build] table"
        )
    return Run.find(Path(recipe.rows))

"""One training run: its folder, its method, its end."""

from __future__ import annotations

from pathlib import Path

from callgrain.core import plugins
from callgrain.core.errors import BadInput, UnknownName
from callgrain.core.progress import Tell, silent
from callgrain.core.protocols import Method
from callgrain.core.store import Run
from callgrain.models._open import weights_key
from callgrain.train._recipe import TrainRecipe

_UNNAMED = {"threads", "save_steps", "model", "rows"}
"""What only changes speed; and paths, for which their content stands: a folder of runs may be moved."""


def train(recipe: TrainRecipe, root: Path, *, tell: Tell = silent) -> Run:
    """Run (or resume) a training; `model/` in its folder is the result. Raises CallgrainError."""
    if recipe.adapter != "none":
        raise UnknownName("adapter", recipe.adapter, ["none"])
    if not recipe.rows:
        raise BadInput(
            "there are no rows to train on", "give --rows the folder of a build, or a recipe with a [build] table"
        )
    rows = Run.find(Path(recipe.rows))
    method: Method = plugins.load("train", recipe.method)()
    inputs = {"rows": rows.folder.name, "model": weights_key(recipe.model), "seed": recipe.seed}
    with Run.open(root, "train", recipe.method, recipe.model_dump(), inputs, unnamed=_UNNAMED) as run:
        if not run.is_done:
            model = method.train(recipe, run, tell)
            done = run.read("training")
            run.finish({"model": str(model), **{k: v for k, v in done.items() if k != "loss"}})
    return run

"""What is exported, and what every format does to it before it is written.

A format is a plug-in that writes one folder from an `Export`: the model as it was trained, with
the tokenizer and the settings that a server needs to speak to it as it was trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field

from callgrain.core.errors import BadInput
from callgrain.core.recipe import Recipe
from callgrain.core.rows import read_json
from callgrain.core.store import Run
from callgrain.export._template import template_for
from callgrain.models import _decode
from callgrain.models._box import folder_of
from callgrain.models._load import Loaded, load

Dtype = Literal["auto", "float32", "float16", "bfloat16", "q8_0"]


class ExportRecipe(Recipe):
    """Settings of an export."""

    run: str = Field(description="run folder of a training, a model's folder, or tiny")
    format: str = Field(default="merged", description="merged, adapter, gguf; see callgrain ls export")
    dtype: Dtype = Field(default="auto", description="of the weights; auto: as they are kept; q8_0 for gguf alone")
    before: str = Field(default="", description="diagnosis of the model before training, for the card")
    after: str = Field(default="", description="diagnosis of the model that is exported, for the card")
    base: str = Field(default="", description="adapter: hub id of its base, in the place of the folder of this machine")
    rank: int = Field(
        default=0, ge=0, description="adapter: SVF as the nearest LoRA of that rank; 0 leaves it as it is"
    )
    licence: str = Field(default="", description="licence of the weights as the hub names it; empty claims none")
    n: int = Field(default=100, ge=0, description="prompts on which the chat template is held against training")
    source: str = Field(default="toolworld:micro", description="SOURCE of those prompts where there are no rows")


@dataclass(frozen=True)
class Subject:
    """What is exported: a model's folder, and the training that made it where that is known."""

    folder: Path
    run: Run | None

    @property
    def name(self) -> str:
        """The training's name, else the folder's: never the path that leads there."""
        return (self.run.folder if self.run else self.folder.resolve()).name

    @property
    def recipe(self) -> dict[str, Any]:
        """Settings of the training; empty where it is not known."""
        return self.run.read("recipe") if self.run else {}

    @property
    def base(self) -> str:
        """The model that the training began with: a hub id, or a folder's own name."""
        named = str(self.recipe.get("model", ""))
        return Path(named).resolve().name if Path(named).expanduser().exists() else named


@dataclass(frozen=True)
class Export:
    """A subject that is open and dressed for the road, and what there is to say of it."""

    subject: Subject
    recipe: ExportRecipe
    loaded: Loaded
    notes: tuple[str, ...]


def subject_of(given: str) -> Subject:
    """The model behind a run folder (of a training, an export) or in a model's folder. Raises BadInput."""
    folder = folder_of(given)
    if (folder / "recipe.json").is_file():
        run = Run.find(folder)
        if not (folder / "model").is_dir():
            raise BadInput(f"the run in {given} made no model", "give the run folder of a training")
        return Subject(folder / "model", run)
    if not folder.is_dir():
        raise BadInput(f"there is no folder {given!r}", "give the run folder of a training, or a model's folder")
    return Subject(folder, None)


def opened(subject: Subject, recipe: ExportRecipe) -> Export:
    """The subject's model with its chat template and its ends set as it was trained. Raises CallgrainError."""
    kept = recipe.dtype if recipe.dtype in ("float32", "float16", "bfloat16") else _kept_dtype(subject.folder)
    loaded = load(str(subject.folder), device="cpu", dtype=kept)
    notes: list[str] = []
    template = template_for(loaded.dialect_id, loaded.tokenizer)
    if template is not None:
        loaded.tokenizer.chat_template = template
    elif loaded.dialect_id != "chat_template":
        notes.append(f"The dialect `{loaded.dialect_id}` has no chat template: render prompts with callgrain.")
    notes += _set_ends(loaded)
    return Export(subject, recipe, loaded, tuple(notes))


def _kept_dtype(folder: Path) -> str:
    """The type in which the folder keeps its weights, as its configuration says; float32 where it does not."""
    config = folder / "config.json"
    said: Any = cast("dict[str, Any]", read_json(config)) if config.is_file() else {}
    found = str(said.get("dtype") or said.get("torch_dtype") or "")
    return found if found in ("float16", "bfloat16") else "float32"


def _set_ends(loaded: Loaded) -> list[str]:
    """Make every end of a turn that the model knows an end for servers too."""
    tokenizer, model = loaded.tokenizer, loaded.model
    own: Any = model.generation_config.eos_token_id
    ends = list(cast("list[int]", own)) if isinstance(own, list | tuple) else [own] if isinstance(own, int) else []
    ending = _decode.ending_of(tokenizer, ends, loaded.dialect.end)
    spelt: list[int] = tokenizer.encode(loaded.dialect.end, add_special_tokens=False) if loaded.dialect.end else []
    first = [spelt[0]] if len(spelt) == 1 and spelt[0] in ending.ids else []
    ids = [*first, *sorted(ending.ids - set(first))]
    model.generation_config.eos_token_id = ids[0] if len(ids) == 1 else ids or None
    model.generation_config.pad_token_id = _decode.pad_id(tokenizer, model)
    if first:
        model.config.eos_token_id = first[0]
        if not ending.text:
            tokenizer.eos_token = loaded.dialect.end
    if ending.text:
        return [f"A turn ends at the text `{ending.text}`, which is no token of its own: give it as a stop text."]
    return []

"""The adapter alone, for whoever has its base model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from callgrain.core.errors import BadInput
from callgrain.core.rows import read_json
from callgrain.core.store import write_atomic, write_json
from callgrain.export._export import Export, Subject
from callgrain.models import _adapters
from callgrain.models._load import CARD, load

_KINDS = {".json", ".safetensors"}
_BASES = {_adapters.ADAPTER: "base", "adapter_config.json": "base_model_name_or_path"}
"""Files of an adapter that name its base, and under which key."""


class Adapter:
    """An adapter's own files beside the tokenizer that it was trained with."""

    dtypes = ("auto",)

    def write(self, export: Export, folder: Path) -> list[str]:
        """The files as the training wrote them; SVF as the nearest LoRA where the recipe gives a rank.

        Raises BadInput where every weight was trained.
        """
        found = adapter_folder(export.subject)
        if found is None:
            raise BadInput(
                f"{export.subject.name} has no adapter: every weight of it was trained",
                "export it with --format merged",
            )
        said = _adapters.about(found)
        notes: list[str] = []
        if export.recipe.rank and said["kind"] in _adapters.FORMS:
            base = load(said["base"], export.loaded.dialect_id, device="cpu").model
            lost = _adapters.export_lora(_adapters.load(base, found), folder, export.recipe.rank, base=said["base"])
            notes.append(
                f"SVF changes matrices at full rank; as LoRA of rank {export.recipe.rank} it is off by {lost:.1%} of "
                "the change (Frobenius)."
            )
        else:
            for path in sorted(found.iterdir()):
                if path.suffix in _KINDS and not path.name.startswith(("tokenizer", "special_tokens")):
                    write_atomic(folder / path.name, [path.read_bytes()])
        export.loaded.tokenizer.save_pretrained(folder)
        write_json(folder / CARD, {"dialect": export.loaded.dialect_id})
        return [*notes, *_name_base(folder, export.recipe.base)]


def adapter_folder(subject: Subject) -> Path | None:
    """Where the adapter's own files lie: in the model's folder, or in `adapter/` beside or within it."""
    places = (subject.folder, subject.folder / "adapter", subject.folder.parent / "adapter")
    return next((place for place in places if place.is_dir() and _adapters.is_adapter(place)), None)


def _name_base(folder: Path, base: str) -> list[str]:
    """Put `base` where the files name theirs; says so where they name a folder that others have not."""
    named = base
    for file, key in _BASES.items():
        path = folder / file
        if not path.is_file():
            continue
        said = cast("dict[str, Any]", read_json(path))
        if base:
            write_json(path, {**said, key: base})
        named = base or str(said.get(key) or named)
    if Path(named).is_absolute():
        return ["The adapter names a folder of the machine that it was trained on as its base: export it with --base."]
    return [f"These are the weights of an adapter; it wants its base model, `{named or 'unknown'}`."]


plugin = Adapter

"""Plain transformers folder: safetensors, tokenizer, chat template."""

from __future__ import annotations

from pathlib import Path

from callgrain.core.store import write_json
from callgrain.export._export import Export
from callgrain.models._load import CARD


class Merged:
    """A folder that AutoModelForCausalLM, vLLM and every other reader of the hub's format opens."""

    dtypes = ("auto", "float32", "float16", "bfloat16")

    def write(self, export: Export, folder: Path) -> list[str]:
        """Weights (an adapter's merged in), tokenizer, chat template, generation settings, the dialect's card."""
        export.loaded.model.save_pretrained(folder, safe_serialization=True)
        export.loaded.tokenizer.save_pretrained(folder)
        write_json(folder / CARD, {"dialect": export.loaded.dialect_id})
        return []


plugin = Merged

"""Loading a causal model of transformers: what runs one and what trains one start here.

Weights are read from safetensors alone and no code of the model's folder is run: a model is
data from elsewhere. Every way in which a folder can be wrong has its own message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from callgrain.core import plugins
from callgrain.core.errors import BadInput, BrokenModel, MissingExtra
from callgrain.core.protocols import Dialect
from callgrain.core.rows import read_json
from callgrain.models import _adapters
from callgrain.models._box import folder_of

CARD = "callgrain.json"
"""File in a model's folder that records the dialect it was trained in: `{"dialect": "compact"}`."""

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,95}(?:/[A-Za-z0-9._\-]{1,96})?")
_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model",
    "sentencepiece.bpe.model", "tekken.json",
)  # fmt: skip


@dataclass(frozen=True)
class Loaded:
    """A transformers model and tokenizer, and the dialect that they are spoken to in."""

    model: Any
    tokenizer: Any
    dialect_id: str
    dialect: Dialect


def load(rest: str, dialect: str = "auto", *, device: str = "auto", dtype: str = "auto") -> Loaded:
    """The model in a folder or under a hub id; `dialect` is `auto`, or a dialect's id.

    `auto` is what the folder's card records, else the chat template; on a processor the weights
    are float32. A folder that holds an adapter is opened as its base with the adapter worked in;
    tokenizer and card are its own where it has them. Raises BrokenModel where the model, its tokenizer
    or its chat template is not there, or an adapter does not fit its base; MissingExtra without torch or
    transformers, UnknownName for an unknown dialect.
    """
    for library in ("torch", "transformers"):
        if find_spec(library) is None:
            raise MissingExtra("a local model", library, "train")
    hush()
    place = _place(rest)
    adapter = Path(place) if _adapters.is_adapter(Path(place)) else None
    base = _base(adapter) if adapter else place
    _check_files(base)
    speaks = place if _has_tokenizer(place) else base
    tokenizer = _tokenizer(speaks)
    name = (
        dialect if dialect != "auto" else _found_dialect(place if (Path(place) / CARD).is_file() else base, tokenizer)
    )
    made = plugins.load("dialects", name)
    model = _adapted(base, adapter, device, dtype) if adapter else _model(base, device, dtype)
    _check_vocabulary(place, tokenizer, model)
    return Loaded(model, tokenizer, name, made(tokenizer) if name == "chat_template" else made())


def hush() -> None:
    """Keep the library's bars and advice off stderr: what a run says there is ours to say."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _place(rest: str) -> str:
    """The folder, or the hub id as it stands. Raises BrokenModel for what can be neither."""
    folder = folder_of(rest)
    if rest and folder.is_dir():
        return str(folder)
    if folder.exists():
        raise BrokenModel(f"{rest!r} is a file, not a model's folder", "give the folder that it lies in")
    if not _HUB_ID.fullmatch(rest):
        raise BrokenModel(f"there is no folder {rest!r}", "give a model's folder, or a hub id such as owner/name")
    return rest


def _base(adapter: Path) -> str:
    """Where the base of an adapter is. Raises BrokenModel where it is not there."""
    base: str = _adapters.about(adapter)["base"]
    try:
        return _place(base)
    except BrokenModel as error:
        file = "adapter.json" if (adapter / _adapters.ADAPTER).is_file() else "adapter_config.json"
        raise BrokenModel(
            f"the base of the adapter in {adapter} is not there: {base!r}", f"write where it is into its {file}"
        ) from error


def _adapted(base: str, adapter: Path, device: str, dtype: str) -> Any:
    """The base with the adapter worked in: into the weights as they are kept, rounded afterwards."""
    import torch

    kept = _model(base, device, dtype if dtype == "float32" else "auto")
    model = _adapters.opened(kept, adapter)
    return model if dtype == "auto" else model.to(getattr(torch, dtype))


def _has_tokenizer(place: str) -> bool:
    """Whether a folder has a tokenizer of its own; a hub id is taken to have one."""
    folder = Path(place)
    return not folder.is_dir() or any((folder / name).is_file() for name in _TOKENIZER_FILES)


def _check_files(place: str) -> None:
    """Raises BrokenModel where a folder lacks what a model is made of; a hub id is left to the hub."""
    folder = Path(place)
    if not folder.is_dir():
        return
    if not (folder / "config.json").is_file():
        if _adapters.is_adapter(folder):
            raise BrokenModel(f"{place}, named as a base, holds an adapter", "merge that one and save it as a model")
        raise BrokenModel(f"{place} has no config.json", "give a folder written by save_pretrained")
    if not any(folder.glob("*.safetensors")):
        old = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        remedy = "save them again as safetensors (save_pretrained does)" if old else "copy the *.safetensors there"
        raise BrokenModel(f"{place} has no weights in safetensors", remedy)
    if not _has_tokenizer(place):
        raise BrokenModel(f"{place} has no tokenizer", "save it there: tokenizer.save_pretrained(folder)")


def _found_dialect(place: str, tokenizer: Any) -> str:
    """The dialect that the folder records, else the chat template. Raises BrokenModel, BadInput."""
    card = Path(place) / CARD
    if card.is_file():
        recorded: Any = read_json(card)
        dialect: Any = cast("dict[str, Any]", recorded).get("dialect") if isinstance(recorded, dict) else None
        if not isinstance(dialect, str):
            raise BadInput(f"{card} records no dialect", 'write {"dialect": "json"} there, or pass --dialect')
        return dialect
    if not getattr(tokenizer, "chat_template", None):
        raise BrokenModel(f"{place}: the tokenizer has no chat template", "pass --dialect json (or compact)")
    return "chat_template"


def _tokenizer(place: str) -> Any:
    from transformers import AutoTokenizer

    loader: Any = AutoTokenizer  # its types are partial
    try:
        return loader.from_pretrained(place, trust_remote_code=False)
    except Exception as error:  # files from elsewhere: the loader can raise anything
        raise _unloadable(place, "tokenizer", error) from error


def _model(place: str, device: str, dtype: str) -> Any:
    """The model, ready to answer, with none of the sampling defaults that came with it."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    loader: Any = AutoModelForCausalLM  # its types are partial
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    dtype = "float32" if dtype == "auto" and device == "cpu" else dtype
    try:
        where = torch.device(device)
        model: Any = loader.from_pretrained(place, dtype=dtype, trust_remote_code=False, use_safetensors=True)
        model = model.to(where).eval()
    except Exception as error:  # files from elsewhere: the loader can raise anything
        raise _unloadable(place, "model", error) from error
    ends = model.generation_config.eos_token_id if model.generation_config else None
    model.generation_config = GenerationConfig(eos_token_id=ends)
    return model


def _unloadable(place: str, part: str, error: Exception) -> BrokenModel:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[0][:300] if lines else type(error).__name__
    if Path(place).is_dir():
        remedy = "check that the folder is whole and of an architecture that the installed transformers knows"
    else:
        remedy = "it is no folder here either; check the hub id, the network, and that the model is not gated"
    return BrokenModel(f"cannot load the {part} of {place!r}: {said}", remedy)


def _check_vocabulary(place: str, tokenizer: Any, model: Any) -> None:
    rows = int(model.get_input_embeddings().weight.shape[0])
    if len(tokenizer) > rows:
        raise BrokenModel(
            f"{place}: the tokenizer knows {len(tokenizer)} tokens, the model {rows}",
            "give the tokenizer that the model was trained with, or call resize_token_embeddings",
        )

"""Any transformers causal language model, from a folder or the Hugging Face hub.

Weights are read from safetensors alone and no code of the model's folder is run: a model is
data from elsewhere. Prompts are decoded in batches, and each reply is what the model would
have said to its prompt alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field

from callgrain.core import plugins
from callgrain.core.canonical import text_key
from callgrain.core.errors import BadInput, BrokenModel, CallgrainError, MissingExtra
from callgrain.core.protocols import Dialect
from callgrain.core.recipe import Recipe
from callgrain.core.rows import read_json
from callgrain.core.types import Fault, Prompt, Reply
from callgrain.models import _decode

CARD = "callgrain.json"
"""File in a model's folder that records the dialect it was trained in: `{"dialect": "compact"}`."""

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,95}(?:/[A-Za-z0-9._\-]{1,96})?")
_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model",
    "sentencepiece.bpe.model", "tekken.json",
)  # fmt: skip


class LocalRecipe(Recipe):
    """How a model on this machine is asked."""

    dialect: str = Field("auto", description="auto (as trained, else the chat template), or json, compact, ...")
    batch_size: int = Field(16, ge=1, description="most prompts in a batch")
    batch_tokens: int = Field(32768, ge=1, description="most tokens in a batch, padding and replies included")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: float32 on a processor, what the weights are kept in elsewhere"
    )


class Local:
    """A causal model of transformers: `Local("FOLDER_OR_HUB_ID", **LocalRecipe's fields)`.

    `dialect` is how it is spoken to, `dialect_id` its name. Greedy and sampled replies carry
    tokens and natural log-probabilities at temperature 1, the end token's included. Raises
    BrokenModel where the model, its tokenizer or its chat template is not there, MissingExtra
    without torch or transformers.
    """

    settings = LocalRecipe
    can_constrain = False

    def __init__(self, rest: str, **options: Any) -> None:
        self._recipe = LocalRecipe.resolve(options)
        for library in ("torch", "transformers"):
            if find_spec(library) is None:
                raise MissingExtra("a local model", library, "train")
        self.name = f"local:{rest}"
        place = _place(rest)
        _check_files(place)
        self._tokenizer: Any = _tokenizer(place)
        self.dialect_id = (
            self._recipe.dialect if self._recipe.dialect != "auto" else _found_dialect(place, self._tokenizer)
        )
        self.dialect: Dialect = (
            plugins.load("dialects", self.dialect_id)(self._tokenizer)
            if self.dialect_id == "chat_template"
            else plugins.load("dialects", self.dialect_id)()
        )
        self._model: Any = _model(place, self._recipe)
        _check_vocabulary(place, self._tokenizer, self._model)
        self._ending = _decode.ending_of(self._tokenizer, _end_ids(self._model), self.dialect.end)
        window = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        self._window: int = window if isinstance(window, int) and window > 0 else 2**31

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """One Reply a prompt, in order; what cannot be answered is a failure in its Reply."""
        replies: dict[int, Reply] = {}
        rows: dict[int, _decode.Row] = {}
        for number, prompt in enumerate(prompts):
            made = self._row(prompt)
            if isinstance(made, Reply):
                replies[number] = made
            else:
                rows[number] = made
        numbers = list(rows)
        lengths = [len(rows[n].prompt) + rows[n].limit for n in numbers]
        for batch in _decode.batches(lengths, self._recipe.batch_size, self._recipe.batch_tokens):
            replies |= self._decoded({numbers[n]: rows[numbers[n]] for n in batch})
        return [replies[number] for number in range(len(prompts))]

    def _row(self, prompt: Prompt) -> _decode.Row | Reply:
        """The prompt as token ids, or the failure of a prompt that has no place in the model."""
        try:
            text = self.dialect.render(prompt)
        except CallgrainError as error:
            return Reply(failure=error.what)
        ids = _decode.prompt_ids(self._tokenizer, text, templated=self.dialect_id == "chat_template")
        room = self._window - len(ids)
        if not ids or room < 1:
            return Reply(failure=f"the prompt has {len(ids)} tokens, and the model has room for {self._window}")
        sampling = prompt.sampling
        return _decode.Row(
            prompt=ids,
            limit=max(1, min(sampling.max_tokens, room)),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=text_key("local", str(sampling.seed), prompt.key),
        )

    def _decoded(self, rows: dict[int, _decode.Row]) -> dict[int, Reply]:
        """Replies by number; a batch that does not fit in memory is halved, down to single rows."""
        try:
            _decode.decode(self._model, list(rows.values()), self._ending, self._tokenizer)
        except (RuntimeError, IndexError, ValueError) as error:
            numbers = list(rows)
            if len(numbers) == 1:
                return {numbers[0]: Reply(failure=f"{type(error).__name__}: {str(error)[:200]}")}
            half = len(numbers) // 2
            first = self._decoded({n: rows[n] for n in numbers[:half]})
            return first | self._decoded({n: rows[n] for n in numbers[half:]})
        return {number: self._reply(row) for number, row in rows.items()}

    def _reply(self, row: _decode.Row) -> Reply:
        ids = row.tokens[:-1] if row.ended and row.tokens[-1] in self._ending.ids else row.tokens
        text = _decode.text_of_ids(self._tokenizer, ids)
        if self.dialect.end:
            text = text.partition(self.dialect.end)[0]
        read = self.dialect.parse(text) if row.ended else _truncated(text)
        return Reply.spoken(
            text,
            read,
            tokens=tuple(str(token or "") for token in self._tokenizer.convert_ids_to_tokens(row.tokens)),
            logprobs=tuple(row.logprobs),
            usage={"prompt_tokens": len(row.prompt), "completion_tokens": len(row.tokens)},
        )


def _truncated(text: str) -> Fault:
    return Fault(kind="truncated", expected="an end within max_tokens", given=text[-200:])


def _place(rest: str) -> str:
    """The folder, or the hub id as it stands. Raises BrokenModel for what can be neither."""
    folder = Path(rest).expanduser()
    if rest and folder.is_dir():
        return str(folder)
    if folder.exists():
        raise BrokenModel(f"{rest!r} is a file, not a model's folder", "give the folder that it lies in")
    if not _HUB_ID.fullmatch(rest):
        raise BrokenModel(f"there is no folder {rest!r}", "give a model's folder, or a hub id such as owner/name")
    return rest


def _check_files(place: str) -> None:
    """Raises BrokenModel where a folder lacks what a model is made of; a hub id is left to the hub."""
    folder = Path(place)
    if not folder.is_dir():
        return
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise BrokenModel(f"{place} holds an adapter, not a model", "merge it into its base and save that")
        raise BrokenModel(f"{place} has no config.json", "give a folder written by save_pretrained")
    if not any(folder.glob("*.safetensors")):
        old = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        remedy = "save them again as safetensors (save_pretrained does)" if old else "copy the *.safetensors there"
        raise BrokenModel(f"{place} has no weights in safetensors", remedy)
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
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


def _model(place: str, recipe: LocalRecipe) -> Any:
    """The model, ready to answer, with none of the sampling defaults that came with it."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    loader: Any = AutoModelForCausalLM  # its types are partial
    device = recipe.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    dtype = "float32" if recipe.dtype == "auto" and device == "cpu" else recipe.dtype
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


def _end_ids(model: Any) -> list[int]:
    """End tokens that the model's two configurations name, as one list."""
    found: list[int] = []
    for source in (model.generation_config, model.config.get_text_config()):
        ends: Any = getattr(source, "eos_token_id", None)
        listed = list(cast("Sequence[Any]", ends)) if isinstance(ends, list | tuple) else [ends]
        found += [end for end in listed if isinstance(end, int)]
    return found


plugin = Local

"""Any transformers causal language model, from a folder or the hub.

Weights are read from safetensors alone and no code of the model's folder is run: a model is
data from elsewhere. Prompts are decoded in batches, and each reply is what the model would
have said to its prompt alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

from pydantic import Field

from callgrain.core.canonical import text_key
from callgrain.core.errors import CallgrainError
from callgrain.core.recipe import Recipe
from callgrain.core.types import Prompt, Reply
from callgrain.dialects._recover import spoken
from callgrain.models import _decode
from callgrain.models._load import load


class LocalRecipe(Recipe):
    """How a model on this machine is asked."""

    dialect: str = Field(default="auto", description="auto (as trained, else the chat template), or json, compact, ...")
    batch_size: int = Field(default=16, ge=1, description="most prompts in a batch")
    batch_tokens: int = Field(default=32768, ge=1, description="most tokens in a batch, padding and replies included")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, mps")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="auto: float32 on a processor, what the weights are kept in elsewhere"
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
        self.name = f"local:{rest}"
        loaded = load(rest, self._recipe.dialect, device=self._recipe.device, dtype=self._recipe.dtype)
        self._tokenizer, self._model = loaded.tokenizer, loaded.model
        self.dialect_id, self.dialect = loaded.dialect_id, loaded.dialect
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
        return spoken(
            self.dialect,
            text,
            ended=row.ended,
            tokens=tuple(str(token or "") for token in self._tokenizer.convert_ids_to_tokens(row.tokens)),
            logprobs=tuple(row.logprobs),
            usage={"prompt_tokens": len(row.prompt), "completion_tokens": len(row.tokens)},
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

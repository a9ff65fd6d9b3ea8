"""Any transformers causal language model, from a folder or the hub.

Weights are read from safetensors alone and no code of the model's folder is run: a model is
data from elsewhere. Prompts are decoded together, and each reply is what the model would
have said to its prompt alone; a prompt that asks for it is answered within its dialect's grammar.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, Self, cast

from pydantic import Field

from callgrain.core.canonical import text_key
from callgrain.core.errors import CallgrainError
from callgrain.core.protocols import Dialect, Tier
from callgrain.core.recipe import Recipe
from callgrain.core.types import Prompt, Reply
from callgrain.dialects._recover import spoken
from callgrain.models import _decode
from callgrain.models._engine import Engine
from callgrain.models._load import Loaded, load
from callgrain.models._masks import Masks, can_mask


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
    tier: Tier = "weights"

    def __init__(self, rest: str, **options: Any) -> None:
        recipe = LocalRecipe.resolve(options)
        loaded = load(rest, recipe.dialect, device=recipe.device, dtype=recipe.dtype)
        self._bind(loaded, f"local:{rest}", recipe)

    @classmethod
    def around(cls, loaded: Loaded, name: str = "local:in-memory", **options: Any) -> Self:
        """A back end around a model that is in memory already: the same weights, as they are at each answer.

        The model must be in evaluation mode when it is asked; `dialect`, `device` and `dtype` are
        those of `loaded`. Raises UnknownName for an option that there is not.
        """
        made = cls.__new__(cls)
        made._bind(loaded, name, LocalRecipe.resolve(options))
        return made

    def _bind(self, loaded: Loaded, name: str, recipe: LocalRecipe) -> None:
        self._recipe, self.name, self.loaded = recipe, name, loaded
        self._tokenizer, self._model = loaded.tokenizer, loaded.model
        self.dialect_id, self.dialect = loaded.dialect_id, loaded.dialect
        self._ending = _decode.ending_of(self._tokenizer, _end_ids(self._model), self.dialect.end)
        window = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        self._window: int = window if isinstance(window, int) and window > 0 else 2**31

    @property
    def can_constrain(self) -> bool:
        """Whether `Prompt.constrain` is honoured: the dialect has a grammar, and llguidance is here."""
        return hasattr(self.dialect, "grammar") and can_mask(self._tokenizer)

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
        self._fill(list(rows.values()))
        replies |= {number: self._reply(row) for number, row in rows.items()}
        return [replies[number] for number in range(len(prompts))]

    @cached_property
    def _engine(self) -> Engine | None:
        """Our own decoding loop, or None where the model's layers cannot be driven by it."""
        try:
            return Engine(self._model, self._tokenizer, self._ending)
        except ValueError:
            return None

    @cached_property
    def _masks(self) -> Masks | None:
        """Masks over the model's tokens, or None where its tokenizer cannot be taken."""
        try:
            return Masks(self._tokenizer, self._ending) if self.can_constrain else None
        except ValueError:
            return None

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
        mask: _decode.Mask | None = None
        if prompt.constrain:
            masks = self._masks
            if masks is None:
                return Reply(failure=f"{self.name} cannot be held to a grammar: {_no_masks(self.dialect)}")
            spelling = {"spaced": masks.spaced, "special": masks.special}
            mask = masks.masker(cast("Any", self.dialect).grammar(prompt.tools, **spelling))
        sampling = prompt.sampling
        return _decode.Row(
            prompt=ids,
            limit=max(1, min(sampling.max_tokens, room)),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=text_key("local", str(sampling.seed), prompt.key),
            mask=mask,
            scored=sampling.scores,
        )

    def _fill(self, rows: list[_decode.Row]) -> None:
        """Fill the rows; those that do not fit in memory together are halved, down to single ones."""
        size, tokens = self._recipe.batch_size, self._recipe.batch_tokens
        try:
            if self._engine is not None:
                self._engine.run(rows, batch_size=size, batch_tokens=tokens)
            else:
                for batch in _decode.batches([len(row.prompt) + row.limit for row in rows], size, tokens):
                    _decode.decode(self._model, [rows[n] for n in batch], self._ending, self._tokenizer)
        except (RuntimeError, IndexError, ValueError) as error:
            owed = [row for row in rows if not row.is_done]
            if len(owed) == 1:
                owed[0].failure = f"{type(error).__name__}: {str(error)[:200]}"
                return
            half = len(owed) // 2
            for part in (owed[:half], owed[half:]):
                if part:
                    self._fill(part)

    def _reply(self, row: _decode.Row) -> Reply:
        if row.failure:
            return Reply(failure=row.failure)
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
            margins=tuple(row.margins) if row.scored else None,
            entropies=tuple(row.entropies) if row.scored else None,
            usage={
                "prompt_tokens": len(row.prompt),
                "completion_tokens": len(row.tokens),
                **({"forced_tokens": row.forced} if row.mask is not None else {}),
            },
        )


def _no_masks(dialect: Dialect) -> str:
    if not hasattr(dialect, "grammar"):
        return "its dialect has no grammar"
    return "llguidance is not here, or cannot take its tokenizer"


def _end_ids(model: Any) -> list[int]:
    """End tokens that the model's two configurations name, as one list."""
    found: list[int] = []
    for source in (model.generation_config, model.config.get_text_config()):
        ends: Any = getattr(source, "eos_token_id", None)
        listed = list(cast("Sequence[Any]", ends)) if isinstance(ends, list | tuple) else [ends]
        found += [end for end in listed if isinstance(end, int)]
    return found


plugin = Local

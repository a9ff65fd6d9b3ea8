"""Our own decoding loop: continuous batches, shared prefixes, several tokens of a row in one pass.

Every token of a step is a batch row of length one to the model, so that rows of any length lie
side by side without padding: one that begins with a long prompt, one that goes on by one token,
one that has ten tokens forced on it. Only attention must know which tokens belong together
(`_slots.py`). What a model computes this way is compared with its own forward pass before it is
trusted; models that differ are left to `_decode.decode`.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from callgrain.models import _slots
from callgrain.models._decode import Drawer, Ending, Row, bands
from callgrain.models._prefix import Shelf

if TYPE_CHECKING:
    import torch

STEP_TOKENS = 8192
"""Most tokens of one forward pass, a single row's excepted: rows beyond it wait for the next."""

PROBE = ((5, 3), (1, 4), (7, 1))
"""Tokens of two rows in each of three steps by which a model is tried: long, single and uneven ones."""

_LAYERS = ("full_attention", "attention", "conv")
_FIXED_ROPE = ("default", "linear", "llama3", "yarn", "proportional", "")


class Engine:
    """Fills rows with what `model` says to them, each as if it were alone.

    `model` is a causal model of transformers (adapters inside it do not matter) in evaluation
    mode; its weights may change between runs. Raises ValueError where the model's layers cannot be
    driven this way, with the reason.
    """

    def __init__(self, model: Any, tokenizer: Any, ending: Ending) -> None:
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._model: Any = inner
        self._drawer = Drawer(ending, tokenizer)
        if (reason := _unfit(inner.config.get_text_config())) is not None:
            raise ValueError(reason)
        self._backbone: Any = getattr(inner, inner.base_model_prefix)
        self._head: Any = inner.get_output_embeddings()
        self._try()

    def run(self, rows: Sequence[Row], *, batch_size: int, batch_tokens: int, jump: bool = True) -> None:
        """Fill `rows` anew: at most `batch_size` at a time, their slots `batch_tokens` tokens together.

        With `jump`, tokens that a grammar forces go through the model together with the one before
        them; without, one by one, with the same outcome. Raises RuntimeError where memory runs out:
        rows that are done by then stay done.
        """
        import torch

        lengths = [len(row.prompt) + row.limit for row in rows]
        with torch.inference_mode(), _slots.attending(self._model):
            for numbers, size in bands(lengths, batch_size, batch_tokens):
                self._fill([rows[n] for n in numbers], size, max(lengths[n] for n in numbers), jump=jump)

    def _fill(self, rows: list[Row], size: int, length: int, *, jump: bool) -> None:
        """All of `rows` through `size` slots of `length` tokens."""
        for row in rows:
            row.begin()
            self._follow(row, jump=jump)
        shelf = Shelf([row for row in rows if not row.is_done], _slots.Memory(size, length), size)
        while True:
            shelf.admit(STEP_TOKENS)
            live = shelf.live
            if not live:
                return
            scores = self._forward(shelf.memory, [seat.length for seat in live], [seat.chunk for seat in live])
            shelf.fed()
            free = [n for n, seat in enumerate(live) if not seat.row.queue]
            for seat in live:
                if seat.row.queue:
                    self._drawer.force(seat.row)
            if free:
                self._drawer.draw([live[n].row for n in free], scores if len(free) == len(live) else scores[free])
            for n in free:
                self._follow(live[n].row, jump=jump)
            shelf.sweep()

    def _follow(self, row: Row, *, jump: bool) -> None:
        """Take every token that the grammar forces, where that is wanted."""
        while jump and row.queue and not row.is_done:
            self._drawer.force(row)

    def _forward(self, memory: _slots.Memory, starts: Sequence[int], chunks: Sequence[Sequence[int]]) -> torch.Tensor:
        """(rows, vocabulary) logits after the last token of each row's chunk; row n goes on from `starts[n]`."""
        import torch

        device = self._model.device
        layout = _slots.lay(starts, [len(chunk) for chunk in chunks], device, self._model.dtype)
        ids = torch.tensor([token for chunk in chunks for token in chunk], device=device)
        with _slots.step(memory, layout):
            hidden: Any = self._backbone(
                input_ids=ids[:, None], position_ids=layout.position[:, None], past_key_values=memory, use_cache=True
            ).last_hidden_state
        last = hidden[:, 0] if layout.is_single else hidden[layout.last, 0]
        return self._head(last)

    def _try(self) -> None:
        """Two rows of arbitrary tokens by steps and by the model's own pass. Raises ValueError where they differ."""
        import torch

        rng = Random(0)
        rows = [
            [rng.randrange(self._head.weight.shape[0]) for _ in range(sum(each))] for each in zip(*PROBE, strict=True)
        ]
        try:
            with torch.inference_mode():
                own = [self._model(input_ids=torch.tensor([row], device=self._model.device)).logits[0] for row in rows]
                memory, starts = _slots.Memory(len(rows), max(map(len, rows))), [0] * len(rows)
                for counts in PROBE:
                    chunks = [row[at : at + n] for row, at, n in zip(rows, starts, counts, strict=True)]
                    with _slots.attending(self._model):
                        found = self._forward(memory, starts, chunks)
                    starts = [at + n for at, n in zip(starts, counts, strict=True)]
                    wanted = torch.stack([logits[at - 1] for logits, at in zip(own, starts, strict=True)])
                    room = 0.02 if self._model.dtype == torch.float32 else 0.15
                    if not (found - wanted).abs().max() <= room * wanted.float().std():
                        raise ValueError("its layers compute something else token by token")
        except (TypeError, AttributeError, RuntimeError, NotImplementedError, KeyError, IndexError) as error:
            raise ValueError(f"{type(error).__name__}: {str(error)[:200]}") from error


def _unfit(config: Any) -> str | None:
    """Why a model's configuration rules the engine out; None where only a trial can tell."""
    kinds = set(getattr(config, "layer_types", None) or ()) - set(_LAYERS)
    if kinds:
        return f"it has layers of the kind {min(kinds)}"
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return "its attention slides"
    if getattr(config, "attention_chunk_size", None):
        return "its attention goes by chunks"
    rope: Any = getattr(config, "rope_parameters", None) or {}
    kind = rope.get("rope_type", "default") if isinstance(rope, dict) else "default"
    return None if kind in _FIXED_ROPE else f"its positions depend on the length of the batch ({kind})"

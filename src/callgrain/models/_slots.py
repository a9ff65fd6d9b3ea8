"""Keys, values and convolution inputs of many rows, by slot and position, and attention over them.

A model is given the tokens of a step as so many batch rows of length one, and this memory in the
place of its cache. It notes what each token leaves behind at that token's slot and position, and
hands the layer what the slots hold; `_attend` then lets each token see its own slot up to itself.
Nothing is ever removed: what lies beyond a row's length is overwritten before it can be seen,
and a slot's beginning can be copied to another (`copy`) that begins with the same tokens.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ATTENTION = "callgrain_slots"
"""Under this name transformers' attention interface finds `_attend`."""

LONG = 16
"""Tokens of a row from which on it is attended to by itself: padding its neighbours would cost more."""


@dataclass(frozen=True)
class Span:
    """Neighbouring slots whose tokens are attended to in one call, padded to the longest."""

    first: int
    stop: int
    reach: int
    index: torch.Tensor
    """(slots, longest) which token of the step stands there."""
    valid: torch.Tensor
    """(slots, longest) of bool: where one does."""
    mask: torch.Tensor | None
    """(slots, 1, longest, reach), added to the scores; None for tokens from the very beginning on."""


@dataclass(frozen=True)
class Layout:
    """Which slot and position each token of one step has; row n has slot n."""

    slots: int
    reach: int
    slot: torch.Tensor
    position: torch.Tensor
    last: torch.Tensor
    """(slots,) which token is each row's last."""
    spans: tuple[Span, ...]
    is_single: bool
    """Whether each row has exactly one token."""


def lay(starts: Sequence[int], counts: Sequence[int], device: Any, dtype: Any) -> Layout:
    """The layout of a step in which row n goes on from position `starts[n]` by `counts[n]` tokens."""
    import torch

    slot = [n for n, count in enumerate(counts) for _ in range(count)]
    position = [start + k for start, count in zip(starts, counts, strict=True) for k in range(count)]
    ends: list[int] = []
    for count in counts:
        ends.append((ends[-1] if ends else -1) + count)
    offsets = [end + 1 - count for end, count in zip(ends, counts, strict=True)]
    spans: list[Span] = []
    first = 0
    while first < len(counts):
        stop = first + 1
        if counts[first] <= LONG:
            while stop < len(counts) and counts[stop] <= LONG:
                stop += 1
        rows = range(first, stop)
        spans.append(_span(rows, [starts[n] for n in rows], [counts[n] for n in rows], offsets[first:stop], dtype))
        first = stop
    return Layout(
        slots=len(counts),
        reach=max(start + count for start, count in zip(starts, counts, strict=True)),
        slot=torch.tensor(slot, device=device),
        position=torch.tensor(position, device=device),
        last=torch.tensor(ends, device=device),
        spans=tuple(_moved(span, device) for span in spans),
        is_single=all(count == 1 for count in counts),
    )


def _span(rows: range, starts: list[int], counts: list[int], offsets: list[int], dtype: Any) -> Span:
    import torch

    longest = max(counts)
    reach = max(start + count for start, count in zip(starts, counts, strict=True))
    steps = torch.arange(longest)[None, :]
    count = torch.tensor(counts)[:, None]
    valid = steps < count
    index = torch.tensor(offsets)[:, None] + steps.minimum(count - 1)
    mask = None
    if not (len(rows) == 1 and (starts[0] == 0 or counts[0] == 1)):
        # A padded place sees what the row's last token sees: its outcome is dropped.
        here = torch.tensor(starts)[:, None] + steps.minimum(count - 1)
        hidden = torch.arange(reach)[None, None, :] > here[:, :, None]
        mask = torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden, float("-inf"))[:, None]
    return Span(rows.start, rows.stop, reach, index, valid, mask)


def _moved(span: Span, device: Any) -> Span:
    mask = None if span.mask is None else span.mask.to(device)
    return Span(span.first, span.stop, span.reach, span.index.to(device), span.valid.to(device), mask)


class Memory:
    """What `slots` rows of at most `length` tokens leave behind; it takes the place of a model's cache."""

    def __init__(self, slots: int, length: int) -> None:
        self._shape = slots, length
        self._layers: dict[tuple[int, str], Any] = {}
        self._before = 0
        self.layout: Layout | None = None

    def update(self, key_states: Any, value_states: Any, layer_idx: int, *_: Any, **__: Any) -> tuple[Any, Any]:
        """(tokens, heads, 1, width) of a step noted; (slots, heads, reach, width) of all that is known given."""
        return self._noted(layer_idx, "keys", key_states), self._noted(layer_idx, "values", value_states)

    def update_conv_state(self, conv_states: Any, layer_idx: int, *, conv_kernel_size: int, **_: Any) -> Any:
        """(tokens, width, 1) inputs of a short convolution noted; each token's window given, itself last."""
        import torch

        layout = self._at
        slots, length = self._shape
        before = conv_kernel_size - 1  # so many zeros stand before each row's beginning
        self._before = max(self._before, before)
        place = layer_idx, f"conv{before}"
        if place not in self._layers:
            self._layers[place] = conv_states.new_zeros(slots, length + before, conv_states.shape[1])
        held = self._layers[place]
        held[layout.slot, layout.position + before] = conv_states[:, :, 0]
        window = layout.position[:, None] + torch.arange(conv_kernel_size, device=held.device)
        return held[layout.slot[:, None], window].transpose(1, 2)

    def get_conv_state(self, layer_idx: int, state_idx: int = 0) -> None:
        """Nothing: whoever updates is given all that is needed."""

    def is_recording_past(self, layer_idx: int) -> bool:
        """Yes: all of a row's past is kept."""
        return True

    def has_previous_state(self, layer_idx: int | None = None, **_: Any) -> bool:
        """No: see `get_conv_state`."""
        return False

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Of no meaning here, where each row has its own; positions are given with the tokens."""
        return 0

    def copy(self, source: int, target: int, length: int) -> None:
        """The first `length` positions of slot `source` put in slot `target`."""
        if source == target or length < 1:
            return
        for (_, kind), held in self._layers.items():
            if kind.startswith("conv"):
                end = length + int(kind[4:])
                held[target, :end] = held[source, :end]
            else:
                held[target, :, :length] = held[source, :, :length]

    @property
    def _at(self) -> Layout:
        if self.layout is None:
            raise RuntimeError("no step is under way")
        return self.layout

    def _noted(self, layer: int, kind: str, states: Any) -> Any:
        layout = self._at
        slots, length = self._shape
        if (layer, kind) not in self._layers:
            # Zeros, not whatever lay there: a hidden place weighs nothing, but nothing times NaN is NaN.
            self._layers[layer, kind] = states.new_zeros(slots, states.shape[1], length, states.shape[3])
        held = self._layers[layer, kind]
        held[layout.slot, :, layout.position] = states[:, :, 0]
        return held[: layout.slots, :, : layout.reach]


_LAYOUT: ContextVar[Layout] = ContextVar("layout of the step under way")


@contextmanager
def attending(model: Any) -> Generator[None]:
    """Have `model` attend by slots within the block, and as it did before afterwards."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, _attend)
    configs = [model.config, model.config.get_text_config()]
    before = [config._attn_implementation for config in configs]  # the only handle that there is
    try:
        for config in configs:
            config._attn_implementation = ATTENTION
        yield
    finally:
        for config, name in zip(configs, before, strict=True):
            config._attn_implementation = name


@contextmanager
def step(memory: Memory, layout: Layout) -> Generator[None]:
    """One forward pass over the tokens of `layout`, noted in `memory`."""
    memory.layout = layout
    token = _LAYOUT.set(layout)
    try:
        yield
    finally:
        memory.layout = None
        _LAYOUT.reset(token)


def _attend(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float | None = None, **_: Any
) -> tuple[Any, None]:
    """(tokens, heads, 1, width) over (slots, key heads, reach, width) -> (tokens, 1, heads, width).

    The query heads of one key head stand side by side as if they were further tokens, so that
    keys and values need not be repeated.
    """
    layout = _LAYOUT.get()
    tokens, heads = query.shape[:2]
    kept, width = key.shape[1], value.shape[3]
    if layout.is_single:
        mask = layout.spans[0].mask
        out = _sdpa(query.reshape(tokens, kept, heads // kept, -1), key, value, mask, scaling)
        return out.reshape(tokens, 1, heads, width), None
    out = query.new_empty(tokens, heads, width)
    for span in layout.spans:
        rows, longest = span.index.shape
        asked = query[span.index, :, 0].view(rows, longest, kept, heads // kept, -1).permute(0, 2, 3, 1, 4)
        asked = asked.reshape(rows, kept, heads // kept * longest, -1)
        mask = span.mask
        if mask is None and longest > 1:
            got = _causal(asked, key, value, span, scaling)
        else:
            mask = None if mask is None else mask.repeat(1, 1, heads // kept, 1)
            held = slice(span.first, span.stop), slice(None), slice(span.reach)
            got = _sdpa(asked, key[held], value[held], mask, scaling)
        got = got.view(rows, kept, heads // kept, longest, width).permute(0, 3, 1, 2, 4)
        out[span.index[span.valid]] = got.reshape(rows, longest, heads, width)[span.valid]
    return out[:, None], None


def _causal(asked: Any, key: Any, value: Any, span: Span, scaling: float | None) -> Any:
    """A row from its beginning on: no mask is made, which for a long prompt would be the larger part."""
    held = slice(span.first, span.stop), slice(None), slice(span.reach)
    rows, kept, long, width = asked.shape
    group = long // span.reach
    asked = asked.view(rows, kept * group, span.reach, width)
    keys, values = (each[held].repeat_interleave(group, 1) for each in (key, value))
    return _sdpa(asked, keys, values, None, scaling, causal=True).reshape(rows, kept, long, -1)


def _sdpa(query: Any, key: Any, value: Any, mask: Any, scaling: float | None, *, causal: bool = False) -> Any:
    from torch.nn.functional import scaled_dot_product_attention

    return scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal, scale=scaling)

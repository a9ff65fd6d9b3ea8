"""Layers that keep documents of one row apart: attention by piece, short convolutions by predecessor.

transformers tells packed documents apart by restarting positions, and only where no cache is
made; branches that share a prompt it cannot tell apart at all, and a short convolution reaches
over every seam. Here the layout of the row travels to each layer as an argument of the forward
pass, so that it is there again when gradient checkpointing runs a layer a second time, in
whichever thread. No mask over the whole row is built: every piece attends by itself.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ATTENTION = "callgrain_sdpa"
"""Name of the attention function in transformers' registry: by piece given a layout, else plain `sdpa`."""

_CONVOLUTIONS = ("Lfm2ShortConv", "Lfm2MoeShortConv")
_LAYERS = {"full_attention", "sliding_attention", "conv"}
_SCALES = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")
_NOT_BY_PIECE = ("softcap", "s_aux", "position_bias")
"""Arguments of attention functions that change the scores: a model that gives one is not taken apart."""


@dataclass(frozen=True)
class Piece:
    """`length` positions that attend causally to each other, and to the first `seen` positions of piece `trunk`."""

    length: int
    trunk: int = -1
    seen: int = 0


@dataclass(frozen=True)
class Layout:
    """The pieces of a row in order, and each position's predecessor: (T,) int64, T where there is none."""

    pieces: tuple[Piece, ...]
    before: torch.Tensor

    def to(self, device: Any) -> Layout:
        """The same on another device."""
        return Layout(self.pieces, self.before.to(device))


def can_isolate(model: Any) -> bool:
    """Whether rows of several documents go through `model` as if each document were alone.

    Asked once a model: by what its layers are, then by trying it on a row of a few tokens.
    Prepares the layers as it goes; without a layout they do what they did before.
    """
    bare = bare_model(model)
    known = getattr(bare, "_callgrain_isolates", None)
    if known is None:
        known = _looks_isolable(bare) and _succeeds(bare)
        bare._callgrain_isolates = known
    return known


def has_plain_head(bare: Any) -> bool:
    """Whether the logits are the output head on the decoder's last states, and nothing more: tried once a model."""
    import torch

    known = getattr(bare, "_callgrain_plain_head", None)
    if known is not None:
        return known
    body: Any = getattr(bare, "base_model", None)
    head: Any = bare.get_output_embeddings()
    configs = (bare.config, bare.config.get_text_config())
    plain = not any(getattr(config, name, None) for config in configs for name in _SCALES)
    if body is None or body is bare or head is None:
        plain = False
    elif plain:
        ids = torch.tensor([[1, 0, 1]], device=bare.get_input_embeddings().weight.device)
        with _answering(bare):
            apart = head(body(input_ids=ids, use_cache=False)[0]).float()
            whole = bare(input_ids=ids, use_cache=False).logits.float()
        plain = torch.allclose(apart, whole, rtol=1e-4, atol=1e-5)
    bare._callgrain_plain_head = plain
    return plain


@contextmanager
def _answering(bare: Any) -> Generator[None]:
    """Without gradients and dropout; every module is left in the mode that it was in."""
    import torch

    modes = [(module, module.training) for module in bare.modules()]
    bare.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def bare_model(model: Any) -> Any:
    """The transformers model inside the wrappers of a launcher and of an adapter."""
    from transformers import PreTrainedModel

    while not isinstance(model, PreTrainedModel):
        if hasattr(model, "get_base_model"):
            model = model.get_base_model()
        elif (inner := getattr(model, "module", getattr(model, "_orig_mod", None))) is not None:
            model = inner
        else:
            break
    return model


def row_arguments(layout: Layout, ids: torch.Tensor) -> dict[str, Any]:
    """What the forward pass of a prepared model is given beside ids and positions.

    A mask of four dimensions is handed on as it is by transformers, and our attention does not
    look at it: so none is built.
    """
    import torch

    stub = torch.ones((1, 1, 1, 1), dtype=torch.bool, device=ids.device)
    return {"forest_layout": layout, "attention_mask": stub, "use_cache": False}


def _looks_isolable(bare: Any) -> bool:
    import torch

    config = getattr(bare, "config", None)
    if config is None or not getattr(bare, "_supports_attention_backend", False):
        return False
    if config._attn_implementation not in ("sdpa", "eager", ATTENTION) or not getattr(bare, "_supports_sdpa", False):
        return False
    if not set(getattr(config.get_text_config(), "layer_types", None) or ()) <= _LAYERS:
        return False
    known = {id(inner) for module in bare.modules() if _is_short(module) for inner in module.modules()}
    odd = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.RNNBase)
    return not any(isinstance(module, odd) and id(module) not in known for module in bare.modules())


def _is_short(module: Any) -> bool:
    return type(module).__name__ in _CONVOLUTIONS


def _succeeds(bare: Any) -> bool:
    """Put our attention and convolution into the model, where they wait for a layout; take them back if that fails."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    was = bare.config._attn_implementation
    bare.set_attn_implementation(ATTENTION)
    for module in bare.modules():
        if _is_short(module):
            module.forward = MethodType(_short_convolution, module)
    works = bare.config._attn_implementation == ATTENTION and _behaves(bare)
    if not works:
        bare.set_attn_implementation(was)
    return works


def _behaves(bare: Any) -> bool:
    """Two documents with branches, in one row and each alone: the same logits?"""
    import torch

    vocabulary = int(bare.get_input_embeddings().weight.shape[0])
    device = bare.get_input_embeddings().weight.device
    rows = [[5, 6, 7, 8, 9, 21, 22, 23], [5, 6, 7, 8, 9, 31, 32], [11, 12, 13, 14, 15, 16]]
    rows = [[(token * 7) % vocabulary for token in row] for row in rows]
    pieces = (Piece(8), Piece(2, trunk=0, seen=5), Piece(6))
    before = [10**9, *range(7), 4, 8, 10**9, *range(10, 15)]
    ids = torch.tensor([[*rows[0], *rows[1][5:], *rows[2]]], device=device)
    places = torch.tensor([[*range(8), 5, 6, *range(6)]], device=device)
    layout = Layout(pieces, torch.tensor(before, device=device).clamp(max=ids.shape[1]))
    try:
        with _answering(bare):
            packed = bare(input_ids=ids, position_ids=places, **row_arguments(layout, ids)).logits[0].float()
            alone = [
                bare(input_ids=torch.tensor([row], device=device), use_cache=False).logits[0].float() for row in rows
            ]
    except (TypeError, ValueError, RuntimeError, NotImplementedError, IndexError, AttributeError):
        return False  # an architecture with other habits: it goes by padded rows
    wanted = torch.cat([alone[0], alone[1][5:], alone[2]])
    noise = 1e-4 if bare.dtype == torch.float32 else 5e-2
    return bool((packed - wanted).abs().max() <= noise * wanted.abs().max())


def _attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, **more: Any
) -> tuple[torch.Tensor, None]:
    """Attention as transformers asks for it: (1, heads, T, size) each -> (1, T, heads, size)."""
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    layout: Layout | None = more.pop("forest_layout", None)
    if layout is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **more)
    if any(more.get(name) is not None for name in _NOT_BY_PIECE):
        raise NotImplementedError("scores that are not plain products")
    sizes = [piece.length for piece in layout.pieces]
    # `split`, not slices: the gradient of a slice is a tensor as long as the row, of a split one for all.
    parts = list(zip(query.split(sizes, 2), key.split(sizes, 2), value.split(sizes, 2), strict=True))
    options = {"dropout_p": more.get("dropout") or 0.0, "scale": more.get("scaling")}
    out: list[torch.Tensor] = []
    for piece, (q, k, v) in zip(layout.pieces, parts, strict=True):
        keys, values = k, v
        if piece.seen:
            _, trunk_k, trunk_v = parts[piece.trunk]
            keys = torch.cat([trunk_k[:, :, : piece.seen], k], 2)
            values = torch.cat([trunk_v[:, :, : piece.seen], v], 2)
        out.append(_one(q, keys, values, more.get("sliding_window"), options).transpose(1, 2))
    return torch.cat(out, 1), None


def _one(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int | None, options: Any) -> torch.Tensor:
    """Causal attention whose last query stands at the last key, over at most `window` keys."""
    import torch

    attend = torch.nn.functional.scaled_dot_product_attention
    queries, keys = q.shape[2], k.shape[2]
    shared = q.shape[1] != k.shape[1]
    halved = q.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu")
    if q.device.type == "cpu" and halved and not options["dropout_p"]:
        return _by_hand(q, k, v, window, options["scale"])
    if queries == keys and (window is None or keys <= window):
        return attend(q, k, v, is_causal=True, enable_gqa=shared, **options)
    return attend(q, k, v, attn_mask=_seen(q, keys, window), enable_gqa=shared, **options)


def _by_hand(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int | None, scale: float | None
) -> torch.Tensor:
    """The same as products and a softmax: on a processor torch's own attention is two to four times slower in bf16."""
    import torch

    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    hidden = torch.where(_seen(q, k.shape[2], window), 0.0, float("-inf")).to(torch.bfloat16)
    left, right = q[0].to(torch.bfloat16), k[0].transpose(1, 2).to(torch.bfloat16)
    scores = torch.baddbmm(hidden, left, right, alpha=q.shape[-1] ** -0.5 if scale is None else scale)
    # The softmax of autocast would come out in float32, to be rounded again for the product.
    with torch.autocast("cpu", enabled=False):
        return torch.bmm(scores.softmax(-1), v[0].to(torch.bfloat16))[None]


def _seen(q: torch.Tensor, keys: int, window: int | None) -> torch.Tensor:
    """(queries, keys) of bool: which keys each query may see, the last one standing at the last key."""
    import torch

    places = torch.arange(keys, device=q.device)
    gaps = places[keys - q.shape[2] :, None] - places[None, :]
    return gaps >= 0 if window is None else (gaps >= 0) & (gaps < window)


def _short_convolution(self: Any, hidden_states: torch.Tensor, *given: Any, **more: Any) -> torch.Tensor:
    """LFM2's gated short convolution: each position with its predecessors in its own document."""
    import torch

    layout: Layout | None = more.pop("forest_layout", None)
    if layout is None:
        return type(self).forward(self, hidden_states, *given, **more)
    gate, scale, inner = self.in_proj(hidden_states).chunk(3, dim=-1)
    rows = (gate * inner)[0]
    weight = self.conv.weight.squeeze(1).to(rows.dtype)  # (channels, kernel): the last tap is the position itself
    mixed = rows * weight[:, -1]
    padded = torch.cat([rows, rows.new_zeros((1, rows.shape[1]))])
    chain = torch.cat([layout.before, layout.before.new_full((1,), rows.shape[0])])
    place = layout.before
    for tap in range(2, weight.shape[1] + 1):
        mixed = mixed + padded[place] * weight[:, -tap]
        place = chain[place]
    if self.conv.bias is not None:
        mixed = mixed + self.conv.bias.to(rows.dtype)
    return self.out_proj(scale * mixed[None])

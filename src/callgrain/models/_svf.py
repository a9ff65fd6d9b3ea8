"""SVF: one learned scale for each singular value of a weight matrix.

W = U S V^T is taken apart once, in float32; what is learned is a vector of min(m, n) numbers, and
W' = W + U (S * (scale - 1)) V^T, so that scales of one leave every bit of W as it is. Two
parameterisations (Transformer-squared, arXiv 2501.06252): `free` is the paper's z = 1 + p from p = 0, so that
weight decay pulls towards the base and not towards nothing; `relative` is its released code's,
scale = c * sigmoid(p) from p = 0.1, with c such that the sum of singular values is kept: only the relation
of the scales is learned.

A file holds p and S. U and V are computed anew from the base: W' does not depend on the sign of a pair of
singular vectors. It does depend on the basis of a subspace of equal singular values, which a library is
free to choose; a fingerprint of every change tells on opening whether it chose as it did on saving.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from callgrain.core.errors import BrokenModel

if TYPE_CHECKING:
    import torch

Form = Literal["free", "relative"]

STARTS: dict[str, float] = {"free": 0.0, "relative": 0.1}
"""Where p begins in each parameterisation: both begin at W itself."""

EXACT = 1e-5
"""How far U S V^T may be from W, as a share of W's largest singular value, before a matrix is refused."""

ALIKE = 1e-3
"""How far singular values and changes may be from those that were saved, relative to their size."""


@dataclass(frozen=True)
class Factors:
    """W (m, n) taken apart: `u` (m, r), `s` (r,) descending, `vh` (r, n), all float32, r = min(m, n)."""

    u: torch.Tensor
    s: torch.Tensor
    vh: torch.Tensor

    def change(self, scales: torch.Tensor) -> torch.Tensor:
        """W' - W, shape (m, n), of scales (r,)."""
        return (self.u * (self.s * (scales - 1.0))) @ self.vh


def factors(weight: torch.Tensor, name: str = "") -> Factors:
    """The singular value decomposition of a matrix. Raises BrokenModel where it does not give the matrix back."""
    import torch

    if not weight.is_floating_point():
        raise BrokenModel(f"the weights of {name or 'a layer'} are quantised", "give the model in its own precision")
    whole = weight.detach().float()
    if not bool(torch.isfinite(whole).all()):
        raise BrokenModel(f"the weights of {name or 'a layer'} are not all finite", "train that model anew")
    u, s, vh = torch.linalg.svd(whole, full_matrices=False)
    far = float(((u * s) @ vh - whole).abs().max()) / max(float(s[0]), 1e-30)
    if far > EXACT:
        raise BrokenModel(f"{name or 'a layer'} cannot be taken apart: U S V^T is off by {far:.1e}", "leave it out")
    return Factors(u, s, vh)


def scales_of(p: torch.Tensor, s: torch.Tensor, form: str) -> torch.Tensor:
    """(r,) factors of the singular values s (r,) that the learned vector p (r,) stands for."""
    import torch

    if form == "free":
        return 1.0 + p
    raw = torch.sigmoid(p)
    # A matrix of zeros has no sum to keep; its scales change nothing, but must be numbers.
    return raw * (s.sum() / (s * raw).sum().clamp_min(1e-30))


@cache
def linear_class() -> Any:
    """The class of a linear layer with learned scales; made on first use, since torch is heavy."""
    import torch
    from torch import nn
    from torch.nn import functional

    class SvfLinear(nn.Linear):
        """A linear layer whose `weight` is frozen and whose `svf` (r,) is learned.

        It is an nn.Linear with one parameter more, so that the rest of the state is called as before.
        `off` answers as the layer that it was.
        """

        u: torch.Tensor
        s: torch.Tensor
        vh: torch.Tensor

        def __init__(self, layer: nn.Linear, form: str, name: str) -> None:
            nn.Module.__init__(self)
            self.in_features, self.out_features = layer.in_features, layer.out_features
            self.weight, self.bias = layer.weight, layer.bias
            self.form, self.off = form, False
            parts = factors(layer.weight, name)
            self.svf = nn.Parameter(torch.full_like(parts.s, STARTS[form]))
            for key in ("u", "s", "vh"):
                # Not persistent: they follow from the weight, and would make a checkpoint three times as large.
                self.register_buffer(key, getattr(parts, key), persistent=False)
            self.ready: tuple[Any, torch.Tensor] | None = None
            self.train(layer.training)

        @property
        def parts(self) -> Factors:
            """The weight taken apart."""
            return Factors(self.u, self.s, self.vh)

        def scales(self) -> torch.Tensor:
            """(r,) factors of the singular values, as learned."""
            return scales_of(self.svf, self.s, self.form)

        def changed(self) -> torch.Tensor:
            """W' (m, n), in the weight's own precision."""
            return (self.weight.float() + self.parts.change(self.scales())).to(self.weight.dtype)

        def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 # nn.Linear calls it so
            """(..., n) -> (..., m)."""
            if self.off:
                return functional.linear(input, self.weight, self.bias)
            if not torch.is_grad_enabled():
                return functional.linear(input, self._kept(), self.bias)
            # In half precision three rounded factors would be another weight than the one that is merged later.
            exact = input.dtype == torch.float32 and not torch.is_autocast_enabled(input.device.type)
            rows = input.numel() // self.in_features
            if exact and _is_cheaper_apart(rows, self.out_features, self.in_features):
                inner = functional.linear(input, self.vh) * (self.s * self.scales())
                return functional.linear(inner, self.u, self.bias)
            return functional.linear(input, self.changed().to(input.dtype), self.bias)

        def _kept(self) -> torch.Tensor:
            """W', computed once for each state of what is learned."""
            state = (self.svf._version, self.svf.data_ptr(), self.weight._version, self.weight.data_ptr())
            if self.ready is None or self.ready[0] != state:
                self.ready = (state, self.changed())
            return self.ready[1]

    return SvfLinear


def _is_cheaper_apart(rows: int, m: int, n: int) -> bool:
    """Whether a step through U, S and V costs fewer multiplications than one through W' made for it.

    Apart: forward and the gradient of the input, each rows * r * (m + n). Whole: three products of
    rows * m * n (forward, input, weight), and two of r * m * n (making W', the gradient of its scales).
    """
    r = min(m, n)
    return 2 * rows * r * (m + n) <= 3 * rows * m * n + 2 * r * m * n


def attach(model: Any, names: Sequence[str], form: Form = "free") -> None:
    """Put learned scales on the linear layers `names` of the model, in place. Raises BrokenModel."""
    kind = linear_class()
    for name in names:
        parent, _, leaf = name.rpartition(".")
        layer = model.get_submodule(name)
        setattr(model.get_submodule(parent), leaf, kind(layer, form, name))


def layers(model: Any) -> Iterator[tuple[str, Any]]:
    """(name, layer) of every layer with learned scales."""
    for name, module in model.named_modules():
        if isinstance(module, linear_class()):
            yield name, module


def merge(model: Any) -> None:
    """Make every layer with learned scales an ordinary one of the changed weight, in place."""
    import torch
    from torch import nn

    for name, layer in list(layers(model)):
        parent, _, leaf = name.rpartition(".")
        with torch.no_grad():
            plain: Any = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
            plain.weight = nn.Parameter(layer.changed())
            plain.bias = layer.bias
        setattr(model.get_submodule(parent), leaf, plain.train(layer.training))


def state(model: Any) -> dict[str, torch.Tensor]:
    """What a file keeps of each layer: `<name>.p` and `<name>.s`, both (r,)."""
    out: dict[str, Any] = {}
    for name, layer in layers(model):
        out[f"{name}.p"] = layer.svf.detach().float().cpu().contiguous()
        out[f"{name}.s"] = layer.s.detach().cpu().contiguous()
    return out


def fingerprint(change: torch.Tensor) -> tuple[float, float]:
    """(size, look) of a change (m, n): its norm, and one bilinear form of it that any other basis would move."""
    import torch

    whole = change.detach().double().cpu()
    left = torch.cos(torch.arange(whole.shape[0], dtype=torch.float64) * 1.1)
    right = torch.cos(torch.arange(whole.shape[1], dtype=torch.float64) * 1.7)
    return float(whole.norm()), float(left @ whole @ right)


def fingerprints(model: Any) -> dict[str, list[float]]:
    """Size and look of the change of each layer: what a saved adapter is checked against when it is opened."""
    import torch

    with torch.no_grad():
        return {name: list(fingerprint(layer.parts.change(layer.scales()))) for name, layer in layers(model)}


def check(parts: Factors, scales: torch.Tensor, name: str, saved: tuple[torch.Tensor, Sequence[float]]) -> None:
    """Hold a base's factors against those that an adapter was saved on: (singular values, fingerprint).

    Raises BrokenModel where singular values differ, or where W' comes out otherwise because equal
    singular values were given other vectors. Without a fingerprint only the values are held.
    """
    values, marks = saved
    if values.shape != parts.s.shape or float((values.to(parts.s) - parts.s).abs().max()) > ALIKE * float(parts.s[0]):
        raise BrokenModel(
            f"{name} has other singular values than the one the adapter was trained on",
            "open it over the base that it was trained on",
        )
    if not marks:
        return
    size, look = fingerprint(parts.change(scales))
    if abs(size - marks[0]) + abs(look - marks[1]) > ALIKE * (marks[0] + size) + 1e-9:
        raise BrokenModel(
            f"the singular vectors of {name} come out otherwise here than where the adapter was saved",
            "use the merged model of that run, or its export as LoRA",
        )


def load(model: Any, tensors: Mapping[str, torch.Tensor], form: Form, marks: Mapping[str, Sequence[float]]) -> None:
    """Attach scales as they were saved (`state`, `fingerprints`), in place. Raises BrokenModel where they misfit."""
    import torch

    attach(model, layers_of(model, tensors), form)
    with torch.no_grad():
        for name, layer in layers(model):
            scales = saved_scales(layer.parts, tensors, form, name)
            check(layer.parts, scales, name, (tensors[f"{name}.s"], marks.get(name, ())))
            layer.svf.copy_(tensors[f"{name}.p"])


def work_in(model: Any, tensors: Mapping[str, torch.Tensor], form: Form, marks: Mapping[str, Sequence[float]]) -> None:
    """Change the weights as `load` and `merge` would, in place, with one matrix apart at a time. Raises BrokenModel."""
    import torch

    with torch.no_grad():
        for name in layers_of(model, tensors):
            weight = model.get_submodule(name).weight
            parts = factors(weight, name)
            scales = saved_scales(parts, tensors, form, name)
            check(parts, scales, name, (tensors[f"{name}.s"], marks.get(name, ())))
            weight.copy_(weight.float() + parts.change(scales))


def layers_of(model: Any, tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """The layers that a file speaks of, once the model is known to have them. Raises BrokenModel."""
    known = {name for name, _ in model.named_modules()}
    names = [key.removesuffix(".p") for key in tensors if key.endswith(".p")]
    for name in names:
        if name not in known or f"{name}.s" not in tensors:
            raise BrokenModel(f"the adapter scales {name}, which the base lacks", "give the base it was trained on")
    return names


def saved_scales(parts: Factors, tensors: Mapping[str, torch.Tensor], form: str, name: str) -> torch.Tensor:
    """(r,) scales of a layer as saved. Raises BrokenModel where the base's layer has another shape."""
    p = tensors[f"{name}.p"].to(parts.s)
    if p.shape != parts.s.shape:
        raise BrokenModel(
            f"the adapter scales {p.numel()} singular values of {name}, which has {parts.s.numel()}",
            "open it over the base that it was trained on",
        )
    return scales_of(p, parts.s, form)


def as_lora(parts: Factors, scales: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """(A (k, n), B (m, k), relative error) of the best change B A of rank k <= `rank` (Eckart and Young).

    The change's singular values are |S * (scale - 1)|, its vectors those of W: nothing is taken apart
    again. The error is in the Frobenius norm, relative to the whole change.
    """
    weights = parts.s * (scales - 1.0)
    order = weights.abs().argsort(descending=True, stable=True)
    kept = order[: min(rank, order.numel())]
    whole = float(weights.norm())
    error = float(weights[order[kept.numel() :]].norm()) / whole if whole > 0 else 0.0
    return parts.vh[kept].contiguous(), (parts.u[:, kept] * weights[kept]).contiguous(), error

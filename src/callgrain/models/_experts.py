"""Experts over one base: adapters mixed into its weights by coefficients, and taken out again.

A mix gives each expert a coefficient, and what is missing to one is the base's own: for SVF that is
W = U (S * (a_0 + sum a_k z_k)) V^T with a_0 = 1 - sum a_k, which is the formula of Transformer-squared
(arXiv 2501.06252, section 3.2) wherever the coefficients sum to one; for LoRA it is the weighted sum of the changes.
The empty mix is the base, bit for bit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from callgrain.core.errors import BadInput, BrokenModel, UnknownName
from callgrain.core.rows import read_json
from callgrain.core.types import Message, Prompt, Sampling
from callgrain.models import _adapters, _lora, _svf

if TYPE_CHECKING:
    import torch

MIX = "mix.json"
"""File of a folder of experts: how they are mixed."""

By = Literal["base", "uniform", "best", "fixed", "prompt", "classifier"]
Mix = Mapping[str, float]

ROUTE = "What kind of task is this? Answer with one of these words and nothing else:"
LABEL_TOKENS = 12
"""Most tokens of an answer that names a kind of task."""


@dataclass(frozen=True)
class Plan:
    """How experts are mixed: by what, the coefficients of a fixed mix, the expert that routes."""

    by: By
    weights: Mapping[str, float]
    router: str = ""


@dataclass(frozen=True)
class Pack:
    """A folder of experts: `experts/NAME/` (adapters) over one base, and `mix.json`, the plan.

    The router, where there is one, is an expert at naming the kind of task and no candidate itself.
    """

    folder: Path
    base: str
    experts: Mapping[str, Path]
    plan: Plan

    @property
    def names(self) -> tuple[str, ...]:
        """The experts that can be mixed in, sorted: the router is not one of them."""
        return tuple(sorted(set(self.experts) - {self.plan.router}))


def read_pack(folder: Path, by: str = "") -> Pack:
    """The experts in a folder; `by` overrules its mix.json. Raises BadInput, BrokenModel, UnknownName."""
    found = {p.name: p for p in sorted(folder.glob("experts/*")) if _adapters.is_adapter(p)}
    if not found:
        raise BadInput(f"{folder} holds no experts", "put each adapter into a folder experts/NAME there")
    file = folder / MIX
    read: Any = read_json(file) if file.is_file() else {}
    said: dict[str, Any] = cast("dict[str, Any]", read) if isinstance(read, dict) else {}
    bases = {name: str(_adapters.about(path)["base"]) for name, path in found.items()}
    base = str(said.get("base") or next(iter(bases.values())))
    if (folder / base).is_dir():
        base = str(folder / base)
    if not said.get("base") and len(set(bases.values())) > 1:
        raise BrokenModel(f"the experts in {folder} have several bases: {bases}", f'name one in {file}: "base"')
    return Pack(folder, base, found, _plan(said, by, file, found))


def _plan(said: Mapping[str, Any], by: str, file: Path, found: Mapping[str, Path]) -> Plan:
    """The plan that mix.json lays down, checked. Raises BadInput, UnknownName."""
    way = by or said.get("by", "uniform")
    if way not in get_args(By):
        raise UnknownName("way of mixing experts", str(way), get_args(By))
    router = str(said.get("router", "router" if "router" in found else ""))
    weights: dict[str, float] = {}
    if way == "fixed":
        given: Any = said.get("weights")
        if not isinstance(given, dict) or not given:
            raise BadInput(f"{file} has no weights to mix by", 'write "weights": {"NAME": 0.5, ...} there')
        for name, value in cast("dict[Any, Any]", given).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not -10 <= value <= 10:
                raise BadInput(f"{file}: the weight of {name!r} is {value!r}", "give a number, 0 to 1 as a rule")
            weights[str(name)] = float(value)
    if way == "best":
        weights = {str(said.get("expert", "")): 1.0}
    for name in [*weights, *([router] if router else [])]:
        if name not in found:
            raise UnknownName("expert", name, found)
    if way == "classifier" and not router:
        raise BadInput(f"{file} names no router", 'train an expert on the kinds of task and write "router": "NAME"')
    return Plan(cast("By", way), weights, router)


class Mixture:
    """Experts ready to be mixed into `model`, whose weights are set in place.

    Matrices are taken apart once, here; a mix then costs one product a matrix. Kept beside the model:
    its own weights of the layers that any expert changes, and their factors where one is SVF. Raises
    BrokenModel where an expert belongs over other weights.
    """

    def __init__(self, model: Any, experts: Mapping[str, Path]) -> None:
        self._model = model
        self._scales: dict[str, dict[str, torch.Tensor]] = {}
        self._parts: dict[str, dict[str, _lora.Part]] = {}
        self._factors: dict[str, _svf.Factors] = {}
        for name, folder in experts.items():
            said = _adapters.check_base(model, folder)
            if said["kind"] in ("lora", "peft"):
                device = model.device
                read = _lora.read(folder)
                self._parts[name] = {k: _lora.Part(p.a.to(device), p.b.to(device), p.scale) for k, p in read.items()}
            else:
                self._scales[name] = self._read_scales(folder, said)
        self._kept = {layer: model.get_submodule(layer).weight.detach().clone() for layer in sorted(self._layers())}
        self._mix: dict[str, float] = {}

    @property
    def mix(self) -> Mix:
        """The coefficients that the weights stand at."""
        return dict(self._mix)

    def set(self, mix: Mix) -> None:
        """Put the weights at a mix; nothing is done where they are there. Raises UnknownName."""
        import torch

        wanted = {name: float(a) for name, a in mix.items() if a}
        for name in wanted:
            if name not in self._scales and name not in self._parts:
                raise UnknownName("expert", name, {*self._scales, *self._parts})
        if wanted == self._mix:
            return
        with torch.no_grad():
            for layer, kept in self._kept.items():
                weight = self._model.get_submodule(layer).weight
                change = self._change(layer, wanted)
                weight.copy_(kept if change is None else kept.float() + change)
        self._mix = wanted

    def _change(self, layer: str, mix: Mix) -> torch.Tensor | None:
        """What the mix adds to the weight of a layer: (m, n), or None for nothing."""
        scaled = [a * (self._scales[n][layer] - 1.0) for n, a in mix.items() if layer in self._scales.get(n, {})]
        out = self._factors[layer].change(sum(scaled[1:], scaled[0]) + 1.0) if scaled else None
        for name, a in mix.items():
            part = self._parts.get(name, {}).get(layer)
            if part is not None:
                out = a * part.change() if out is None else out + a * part.change()
        return out

    def _layers(self) -> Iterator[str]:
        known = {name for name, _ in self._model.named_modules()}
        for name, layers in [*self._scales.items(), *self._parts.items()]:
            for layer in layers:
                if layer not in known:
                    raise BrokenModel(f"expert {name!r} changes {layer}, which the base lacks", "give its own base")
                yield layer

    def _read_scales(self, folder: Path, said: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        tensors = _adapters.svf_tensors(folder)
        out: dict[str, torch.Tensor] = {}
        for layer in _svf.layers_of(self._model, tensors):
            if layer not in self._factors:
                self._factors[layer] = _svf.factors(self._model.get_submodule(layer).weight, layer)
            parts = self._factors[layer]
            out[layer] = _svf.saved_scales(parts, tensors, _adapters.FORMS[said["kind"]], layer)
            _svf.check(parts, out[layer], layer, (tensors[f"{layer}.s"], said.get("changes", {}).get(layer, ())))
        return out


def uniform(names: Sequence[str]) -> Mix:
    """The same share of each."""
    return dict.fromkeys(names, 1.0 / len(names)) if names else {}


def route_prompt(prompt: Prompt, labels: Sequence[str]) -> Prompt:
    """The prompt that asks which kind of task `prompt` is; it is answered greedily, in one word."""
    question = f"{ROUTE} {', '.join(labels)}"
    messages = prompt.messages
    if messages and messages[0].role == "system":
        question, messages = f"{messages[0].text}\n\n{question}", messages[1:]
    return Prompt(
        messages=(Message(role="system", text=question), *messages),
        tools=prompt.tools,
        sampling=Sampling(max_tokens=LABEL_TOKENS, seed=prompt.sampling.seed),
    )


def label_in(text: str, labels: Sequence[str]) -> str:
    """The label that stands first in an answer, "" where there is none; `next_call` is not `next`."""
    found = [
        (match.start(), label)
        for label in labels
        if (match := re.search(rf"(?<![a-z0-9_]){re.escape(label.lower())}(?![a-z0-9_])", text.lower()))
    ]
    return min(found)[1] if found else ""

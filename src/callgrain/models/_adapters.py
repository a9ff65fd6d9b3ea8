"""Adapters: what is trained instead of every weight, and how it becomes a plain model again.

An adapter sits inside the model, which keeps its class and is called as before; `merged` gives an ordinary
transformers model. Saved, an adapter is a folder that names its base and the base's weights, so that
it is never opened over others without a word.
"""

from __future__ import annotations

import copy
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from callgrain.core.canonical import content_key
from callgrain.core.errors import BadInput, BrokenModel, UnknownName
from callgrain.core.rows import read_json
from callgrain.core.store import write_atomic, write_json
from callgrain.models import _lora, _svf

if TYPE_CHECKING:
    import torch

ADAPTER = "adapter.json"
"""File of an adapter's folder: kind, base, the base's weights, layers and trainable parameters."""

KINDS = ("none", "lora", "svf", "svf-relative")
SAMPLES = 32
"""Numbers of each tensor that stand for it in the key of a model's weights."""

_SVF_WEIGHTS = "svf.safetensors"
FORMS: dict[str, _svf.Form] = {"svf": "free", "svf-relative": "relative"}
"""The parameterisation behind each kind of SVF."""
_GROUPS = {
    "attention": ("attn", "attention"),
    "mlp": ("mlp", "feed_forward", "ffn"),
}
"""What the path of a layer holds when it belongs to a block's attention, or to its feed-forward part."""


@dataclass(frozen=True)
class Size:
    """Parameters of a model: those that are trained, and all that there are."""

    trainable: int
    total: int


def linears(model: Any, targets: str = "auto") -> tuple[str, ...]:
    """Names of the linear layers that an adapter changes.

    `auto` is every linear layer but the head, those of short convolutions included; `attention` and
    `mlp` are those of each block's part; anything else names layers, separated by commas, by the end of
    their path (`q_proj,v_proj`, `layers.0.self_attn.q_proj`). Raises UnknownName, BrokenModel where the
    model has no such layer.
    """
    from torch import nn

    head = model.get_output_embeddings()
    every = [name for name, m in model.named_modules() if isinstance(m, nn.Linear) and m is not head]
    if not every:
        raise BrokenModel("the model has no linear layer to put an adapter on", "train every weight: --adapter none")
    if targets == "auto":
        return tuple(every)
    if targets in _GROUPS:
        found = [n for n in every if any(mark in part for part in n.split(".")[:-1] for mark in _GROUPS[targets])]
    else:
        found = []
        for wanted in filter(None, (part.strip() for part in targets.split(","))):
            fitting = [name for name in every if name == wanted or name.endswith(f".{wanted}")]
            if not fitting:
                known = {name.rpartition(".")[2] for name in every}
                raise UnknownName("layer", wanted, known | {"auto", *_GROUPS})
            found += [name for name in fitting if name not in found]
    if not found:
        raise BrokenModel(f"no linear layer of the model is {targets!r}", "give --targets auto, or names of layers")
    return tuple(name for name in every if name in set(found))


def attach(model: Any, kind: str, rank: int = 8, alpha: float = 16.0, targets: str = "auto", *, seed: int = 0) -> Any:
    """The same model, with only the adapter trainable and its answers unchanged as yet.

    `none` makes every weight trainable; `lora` is low-rank (PEFT), scaled by alpha / rank; `svf` learns
    scales of singular values, `svf-relative` their relation alone. Raises UnknownName for another kind,
    BrokenModel where no layer fits, MissingExtra without PEFT.
    """
    if kind not in KINDS:
        raise UnknownName("adapter", kind, KINDS)
    model.requires_grad_(kind == "none")
    if kind == "none":
        return model
    names = linears(model, targets)
    if kind == "lora":
        _lora.attach(model, names, rank, alpha, seed)
    else:
        _svf.attach(model, names, FORMS[kind])
    return model


def kind_of(model: Any) -> str:
    """Which adapter a model carries: `none` where it carries none."""
    first = next((layer for _, layer in _svf.layers(model)), None)
    if first is not None:
        return "svf" if first.form == "free" else "svf-relative"
    return "lora" if hasattr(model, "peft_config") else "none"


def size_of(model: Any) -> Size:
    """How many numbers are trained, and how many there are."""
    counts = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return Size(sum(n for n, trained in counts if trained), sum(n for n, _ in counts))


def trained_state(model: Any) -> dict[str, torch.Tensor]:
    """The trainable parameters by name: all that a checkpoint of an adapter needs."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def rank_for(model: Any, parameters: int, targets: str = "auto") -> tuple[int, int]:
    """(rank, its trainable parameters) of the LoRA that is nearest to so many parameters.

    Rank 1 may have more already: SVF learns min(m, n) numbers of a matrix, LoRA at least m + n.
    """
    shapes = [(m.out_features, m.in_features) for m in (model.get_submodule(n) for n in linears(model, targets))]
    rank = _lora.rank_for(shapes, parameters)
    return rank, rank * sum(m + n for m, n in shapes)


@contextmanager
def without(model: Any) -> Generator[Any]:
    """The base for as long as the block runs: the reference of a preference loss, at no memory.

    Raises BadInput for a model without an adapter, whose base is gone once it is trained.
    """
    kind = kind_of(model)
    if kind == "none":
        raise BadInput("a model without an adapter has no base to go back to", "keep a copy, or train an adapter")
    if kind == "lora":
        with _lora.off(model):
            yield model
        return
    scaled = [layer for _, layer in _svf.layers(model)]
    for layer in scaled:
        layer.off = True
    try:
        yield model
    finally:
        for layer in scaled:
            layer.off = False


def merge(model: Any) -> Any:
    """The same model with its adapter worked into the weights: ordinary layers, its class as before."""
    kind = kind_of(model)
    if kind == "lora":
        _lora.merge(model)
    elif kind != "none":
        _svf.merge(model)
    return model


def merged(model: Any) -> Any:
    """A plain copy of the model with its adapter worked in; the model itself can be trained on."""
    return merge(copy.deepcopy(model))


def base_key(model: Any) -> str:
    """What tells one base's weights from another's, whatever carries them: folder, hub, precision, adapter.

    A hash over every tensor's name and shape and a few of its numbers in bfloat16: training moves
    them all, so a base that was trained on has another key, and one that was copied has the same.
    """
    import torch

    rows: list[Any] = []
    for name, tensor in sorted(model.state_dict(keep_vars=False).items()):
        if ".lora_" in name or name.endswith(".svf"):
            continue
        flat = tensor.detach().reshape(-1)
        last = flat.numel() - 1
        at = [number * last // (SAMPLES - 1) for number in range(SAMPLES)] if last >= 0 else []
        seen = flat[torch.tensor(at, dtype=torch.long, device=flat.device)]
        numbers = seen.to(torch.bfloat16).float().cpu().tolist()
        rows.append([name.replace(".base_layer.", "."), list(tensor.shape), [repr(n) for n in numbers]])
    return content_key(rows)


def save(model: Any, folder: Path, *, base: str = "") -> Path:
    """Write the adapter that the model carries, or the whole model where it carries none, to `folder`.

    `base` is the folder or hub id that it belongs over; without it, where the model was loaded from.
    LoRA is PEFT's own format, SVF a safetensors file of vectors. The folder's `adapter.json` is written last.
    """
    kind = kind_of(model)
    if kind == "none":
        model.save_pretrained(folder, safe_serialization=True)
        return folder
    base = base or str(getattr(model, "name_or_path", "") or "")
    base = str(Path(base).resolve()) if base and Path(base).is_dir() else base
    about: dict[str, Any] = {"kind": kind, "base": base, "weights": base_key(model)}
    if kind == "lora":
        found = _lora.parts(model)
        _lora.save(found, folder, base)
        about["layers"] = sorted(found)
    else:
        from safetensors.torch import save as as_bytes

        write_atomic(folder / _SVF_WEIGHTS, [as_bytes(_svf.state(model), metadata={"format": "pt"})])
        about["layers"] = sorted(name for name, _ in _svf.layers(model))
        about["changes"] = _svf.fingerprints(model)
    write_json(folder / ADAPTER, {**about, "parameters": size_of(model).trainable})
    return folder


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no model: ours, or one of PEFT."""
    holds = (folder / ADAPTER).is_file() or (folder / _lora.CONFIG).is_file()
    return holds and not (folder / "config.json").is_file()


def about(folder: Path) -> dict[str, Any]:
    """What an adapter's folder says of itself: `kind`, `base`, and `weights` ("" where another tool wrote it).

    A relative base is looked for from the adapter's folder. Raises BrokenModel where no base is named.
    """
    ours = (folder / ADAPTER).is_file()
    file = folder / (ADAPTER if ours else _lora.CONFIG)
    read: Any = read_json(file)
    said: dict[str, Any] = cast("dict[str, Any]", read) if isinstance(read, dict) else {}
    key = "base" if ours else "base_model_name_or_path"
    base = said.get(key)
    if not isinstance(base, str) or not base:
        raise BrokenModel(f"{file} names no base", f'write the folder or hub id of the base there: "{key}"')
    if ours and said.get("kind") not in KINDS[1:]:
        raise BrokenModel(f"{file}: {said.get('kind')!r} is no kind of adapter", f"one of {', '.join(KINDS[1:])}")
    if (folder / base).is_dir():
        base = str(folder / base)
    return {**said, "base": base, "kind": said.get("kind", "peft") if ours else "peft",
            "weights": said.get("weights", "") if ours else ""}  # fmt: skip


def check_base(model: Any, folder: Path) -> dict[str, Any]:
    """What the adapter's folder says of itself, once the model is known to be its base. Raises BrokenModel."""
    said = about(folder)
    if said["weights"] and said["weights"] != base_key(model):
        raise BrokenModel(
            f"the adapter in {folder} was trained over other weights than those of {said['base']!r}",
            f'give it the base it was trained on: "base" in {folder / ADAPTER}',
        )
    return said


def opened(model: Any, folder: Path) -> Any:
    """The base with the adapter of `folder` worked into its weights. Raises BrokenModel where they do not fit."""
    said = check_base(model, folder)
    if said["kind"] in ("lora", "peft"):
        return _lora.opened(model, folder)
    _svf.work_in(model, svf_tensors(folder), FORMS[said["kind"]], said.get("changes", {}))
    return model


def load(model: Any, folder: Path) -> Any:
    """The base with one of our adapters on it, trainable, as it was saved. Raises BrokenModel where they do not fit."""
    import torch

    said = check_base(model, folder)
    model.requires_grad_(False)
    if said["kind"] in FORMS:
        _svf.load(model, svf_tensors(folder), FORMS[said["kind"]], said.get("changes", {}))
        return model
    parts = _lora.read(folder)
    first = next(iter(parts.values()))
    rank = int(first.a.shape[0])
    _lora.attach(model, tuple(parts), rank, first.scale * rank)
    with torch.no_grad():
        for name, layer in _lora.layers(model):
            layer.lora_A["default"].weight.copy_(parts[name].a)
            layer.lora_B["default"].weight.copy_(parts[name].b)
    return model


def svf_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The vectors of an SVF folder. Raises BrokenModel."""
    from safetensors.torch import load_file

    if not (folder / _SVF_WEIGHTS).is_file():
        raise BrokenModel(f"{folder} has no {_SVF_WEIGHTS}", "copy the adapter anew")
    return load_file(folder / _SVF_WEIGHTS)


def export_lora(model: Any, folder: Path, rank: int, *, base: str = "") -> float:
    """Write a model's SVF adapter as the best LoRA of that rank, in PEFT's format; returns its relative error.

    SVF changes a matrix at full rank, so something is lost: the error is that of all layers together, in
    the Frobenius norm. Raises BadInput for a model without SVF.
    """
    import torch

    parts: dict[str, _lora.Part] = {}
    lost = whole = 0.0
    with torch.no_grad():
        for name, layer in _svf.layers(model):
            a, b, error = _svf.as_lora(layer.parts, layer.scales(), rank)
            size = float((layer.s * (layer.scales() - 1.0)).norm()) ** 2
            lost, whole = lost + error * error * size, whole + size
            parts[name] = _lora.Part(*_padded(a, b, rank), 1.0)
    if not parts:
        raise BadInput("the model carries no SVF adapter", "only SVF is exported as LoRA; LoRA is saved as it is")
    _lora.save(parts, folder, base or str(getattr(model, "name_or_path", "") or ""))
    return (lost / whole) ** 0.5 if whole > 0 else 0.0


def _padded(a: torch.Tensor, b: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A and B with rows and columns of zeros up to `rank`: readers expect the same rank of every layer."""
    from torch.nn import functional

    missing = rank - a.shape[0]
    return functional.pad(a, (0, 0, 0, missing)), functional.pad(b, (0, missing))

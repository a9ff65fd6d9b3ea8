"""LoRA by PEFT: the only file that knows that library.

Layers are put into the model itself, which keeps its class and its way of being called. What is saved is
PEFT's own format, so any tool that reads LoRA adapters reads ours.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callgrain.core.errors import BrokenModel, MissingExtra
from callgrain.core.rows import read_json

if TYPE_CHECKING:
    import torch

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_PLAIN = {"use_dora": False, "use_rslora": False, "bias": "none", "fan_in_fan_out": False}
"""Settings that a change B A alone answers for."""


@dataclass(frozen=True)
class Part:
    """What LoRA adds to one matrix (m, n): `scale` * b @ a, with a (k, n) and b (m, k)."""

    a: torch.Tensor
    b: torch.Tensor
    scale: float

    def change(self) -> torch.Tensor:
        """W' - W, shape (m, n)."""
        return (self.b @ self.a) * self.scale


def need() -> None:
    """Raises MissingExtra without PEFT."""
    if find_spec("peft") is None:
        raise MissingExtra("a LoRA adapter", "peft", "train")


def attach(model: Any, names: Sequence[str], rank: int, alpha: float, seed: int = 0) -> None:
    """Put LoRA layers of `rank`, scaled by alpha / rank, beside the linear layers `names`, in place.

    B begins at zero, so the model begins as it was; A is drawn from `seed`, whatever torch drew before.
    """
    need()
    import torch
    from peft import inject_adapter_in_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(_config(names, rank, alpha), model)


def _config(names: Sequence[str], rank: int, alpha: float) -> Any:
    from peft import LoraConfig

    # Whole alpha is written as a whole number: other readers of adapter_config.json expect one.
    scale: Any = int(alpha) if float(alpha).is_integer() else alpha
    return LoraConfig(
        r=rank, lora_alpha=scale, target_modules=list(names), lora_dropout=0.0, bias="none", task_type="CAUSAL_LM"
    )


def layers(model: Any) -> Iterator[tuple[str, Any]]:
    """(name, layer) of every LoRA layer of PEFT."""
    from peft.tuners.lora import LoraLayer

    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


@contextmanager
def off(model: Any) -> Generator[None]:
    """The model without its LoRA layers, for as long as the block runs."""
    found: list[Any] = [layer for _, layer in layers(model)]
    trained = [[p.requires_grad for p in layer.parameters()] for layer in found]
    for layer in found:
        layer.enable_adapters(enabled=False)
    try:
        yield
    finally:
        for layer, wanted in zip(found, trained, strict=True):
            layer.enable_adapters(enabled=True)
            for parameter, want in zip(layer.parameters(), wanted, strict=True):
                parameter.requires_grad_(want)


def merge(model: Any) -> None:
    """Add every LoRA layer to the weight beside it and leave an ordinary layer, in place."""
    for name, layer in list(layers(model)):
        parent, _, leaf = name.rpartition(".")
        layer.merge()
        setattr(model.get_submodule(parent), leaf, layer.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config


def parts(model: Any) -> dict[str, Part]:
    """What each LoRA layer adds, by the name of the layer."""
    return {
        name: Part(
            layer.lora_A["default"].weight.detach(),
            layer.lora_B["default"].weight.detach(),
            float(layer.scaling["default"]),
        )
        for name, layer in layers(model)
    }


def save(found: Mapping[str, Part], folder: Path, base: str) -> None:
    """Write parts of one rank and scale as a PEFT folder over `base`. Raises BadInput where it cannot be written."""
    from safetensors.torch import save as as_bytes

    from callgrain.core.store import write_atomic, write_json

    need()
    first = next(iter(found.values()))
    config = _config(sorted(found), int(first.a.shape[0]), first.scale * int(first.a.shape[0]))
    config.base_model_name_or_path, config.inference_mode = base, True
    settings = config.to_dict()
    tensors: dict[str, Any] = {}
    for name, part in found.items():
        tensors[f"{_PREFIX}{name}.lora_A.weight"] = part.a.float().cpu().contiguous()
        tensors[f"{_PREFIX}{name}.lora_B.weight"] = part.b.float().cpu().contiguous()
    write_atomic(folder / WEIGHTS, [as_bytes(tensors, metadata={"format": "pt"})])
    write_json(folder / CONFIG, {k: sorted(v) if isinstance(v, set) else v for k, v in settings.items()})


def read(folder: Path) -> dict[str, Part]:
    """The parts that a PEFT folder holds, by layer. Raises BrokenModel for adapters that are more than B A."""
    from safetensors.torch import load_file

    settings: Any = read_json(folder / CONFIG)
    odd = [k for k, plain in _PLAIN.items() if settings.get(k, plain) != plain]
    odd += [k for k in ("modules_to_save", "rank_pattern", "alpha_pattern") if settings.get(k)]
    if settings.get("peft_type") != "LORA" or odd:
        raise BrokenModel(
            f"{folder} is no plain LoRA adapter ({', '.join(odd) or settings.get('peft_type')})",
            "merge it into its base by PEFT (merge_and_unload) and save that",
        )
    scale = float(settings["lora_alpha"]) / int(settings["r"])
    tensors = load_file(folder / WEIGHTS)
    names = [k.removesuffix(".lora_A.weight") for k in tensors if k.endswith(".lora_A.weight")]
    found: dict[str, Part] = {}
    for name in names:
        a, b = tensors[f"{name}.lora_A.weight"], tensors.get(f"{name}.lora_B.weight")
        if b is None:
            raise BrokenModel(f"{folder} has half of {name}: no lora_B", "copy the adapter anew")
        found[name.removeprefix(_PREFIX)] = Part(a.float(), b.float(), scale)
    return found


def opened(model: Any, folder: Path) -> Any:
    """The model with the PEFT adapter of `folder`, of any kind that PEFT merges, worked in. Raises BrokenModel."""
    need()
    from peft import PeftModel

    if not (folder / WEIGHTS).is_file():
        raise BrokenModel(f"{folder} has no {WEIGHTS}", "save the adapter as safetensors (save_pretrained does)")
    try:
        return PeftModel.from_pretrained(model, folder).merge_and_unload()
    except Exception as error:  # files from elsewhere: the library can raise anything
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise BrokenModel(f"cannot open the adapter in {folder}: {said}", "give the base it was trained on") from error


def rank_for(shapes: Sequence[tuple[int, int]], parameters: int) -> int:
    """The rank >= 1 whose trainable parameters, rank * sum(m + n), are nearest to `parameters`."""
    one = sum(m + n for m, n in shapes)
    return max(1, round(parameters / one))

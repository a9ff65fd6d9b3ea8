"""Is what was exported the model that was trained? The same prompts to both, token by token.

Greedy replies are compared, and the prompts themselves: a server that spells them otherwise than
training did would get a worse model than was measured. Where two replies part, the first tokens
that differ are told with their log-probabilities: a near tie is rounding, anything else a fault.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import Field

from callgrain.core.errors import BadInput
from callgrain.core.progress import Tell, silent
from callgrain.core.recipe import Recipe
from callgrain.core.stats import share
from callgrain.core.store import Run, write_json
from callgrain.core.types import Prompt, Reply, Sampling
from callgrain.export import _llama
from callgrain.export._export import subject_of
from callgrain.export._run import source_prompts
from callgrain.export._template import parity
from callgrain.models._load import CARD, Loaded, hush, load
from callgrain.models._open import open_model, weights_key


class VerifyRecipe(Recipe):
    """Settings of a check of an export."""

    exported: str = Field(description="what an export printed as its last line, or the folder that it wrote")
    against: str = Field(description="run folder of the training, or the folder of the model that was exported")
    n: int = Field(default=50, ge=1, description="prompts that both are asked")
    source: str = Field(default="toolworld:micro", description="SOURCE of the prompts")
    split: str = Field(default="", description="split of the source; empty takes the one for checking")
    seed: int = Field(default=0, description="seed of the choice of prompts")
    max_tokens: int = Field(default=128, ge=1, description="most tokens of one reply")
    fail_under: float = Field(
        default=1.0, ge=0, le=1, description="exit with 1 where fewer replies agree than this share"
    )


@dataclass(frozen=True)
class Said:
    """A greedy reply as tokens with their natural log-probabilities; `failure` where there is none."""

    tokens: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()
    failure: str | None = None


def first_difference(one: Said, other: Said) -> dict[str, Any] | None:
    """Where two replies part: index, and both tokens with their log-probs (None past an end). None where nowhere."""
    if one.failure != other.failure:
        return {"index": 0, "failures": [one.failure, other.failure]}
    length = max(len(one.tokens), len(other.tokens))
    at = next((i for i in range(length) if one.tokens[i : i + 1] != other.tokens[i : i + 1]), None)
    if at is None:
        return None
    both = [(said.tokens[at], said.logprobs[at]) if at < len(said.tokens) else (None, None) for said in (one, other)]
    return {"index": at, "tokens": [t for t, _ in both], "logprobs": [p for _, p in both]}


def verify_export(recipe: VerifyRecipe, root: Path, *, tell: Tell = silent) -> Run:
    """Replay and compare; `result.json` and `mismatches.jsonl` in the run folder hold what came out.

    Raises BadInput where there is nothing to compare, MissingExtra without the library that reads it.
    """
    exported, against = subject_of(recipe.exported).folder, subject_of(recipe.against).folder
    inputs = {"exported": _key(exported), "against": _key(against), "seed": recipe.seed}
    unnamed = ("exported", "against", "fail_under")
    with Run.open(root, "verify-export", exported.parent.name, recipe.model_dump(), inputs, unnamed=unnamed) as run:
        if not run.is_done:
            _work(recipe, run, (exported, against), tell)
    return run


def _key(folder: Path) -> str:
    return weights_key(str(folder)) + "".join(str(p.stat().st_mtime_ns) for p in sorted(folder.glob("*.gguf")))


def _work(recipe: VerifyRecipe, run: Run, folders: tuple[Path, Path], tell: Tell) -> None:
    exported, against = folders
    asked = source_prompts(recipe.source, recipe.split, recipe.n, recipe.seed)
    sampling = Sampling(max_tokens=recipe.max_tokens)
    prompts = [prompt.model_copy(update={"sampling": sampling}) for _, prompt in asked]
    tell("replaying on the model that was exported", 0, 0)
    before = _answers(against, prompts)
    tell("replaying on the export", 0, 0)
    after, notes = _exported_answers(exported, against, prompts)
    found = [first_difference(one, other) for one, other in zip(before, after, strict=True)]
    rows = [
        {"number": n, "subtask": asked[n][0], "prompt": prompts[n].key, **gap} for n, gap in enumerate(found) if gap
    ]
    run.replace_rows("mismatches", rows)
    exact = len(prompts) - len(rows)
    result: dict[str, Any] = {"n": len(prompts), "exact": exact, "rate": share(exact, len(prompts)), "notes": notes}
    tell("holding the chat template against training", 0, 0)
    trained = load(str(against), device="cpu")
    compared, differing = parity(trained, _served(exported, trained), prompts)
    result["parity"] = {"compared": compared, "same": compared - len(differing), "first_differing": differing[:5]}
    run.write("result", result)
    run.finish(result)


def _answers(folder: Path, prompts: Sequence[Prompt]) -> list[Said]:
    return [_said(reply) for reply in open_model(f"local:{folder}").answer(prompts)]


def _said(reply: Reply) -> Said:
    return Said(reply.tokens or (), reply.logprobs or (), reply.failure)


def _gguf(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob("*.gguf"))), None)


def _exported_answers(exported: Path, against: Path, prompts: Sequence[Prompt]) -> tuple[list[Said], list[str]]:
    """What the export says, and how it was asked."""
    file = _gguf(exported)
    if file is None:
        return _answers(exported, prompts), []
    if find_spec("llama_cpp") is not None and _llama.has_tokenizer(file):
        return [Said(*said) for said in _llama.replay(file, load(str(against), device="cpu"), prompts)], [
            "replayed by llama.cpp"
        ]
    with tempfile.TemporaryDirectory() as place:
        far = thaw(file, against, Path(place))
        said = _answers(Path(place), prompts)
    why = "llama_cpp is not installed" if find_spec("llama_cpp") is None else "the file holds no tokenizer"
    return said, [
        f"llama.cpp was not run ({why}): the file's weights were read back by transformers and replayed there",
        f"largest difference of a weight from the model that was exported: {far:.3g}",
    ]


def thaw(file: Path, like: Path, folder: Path) -> float:
    """The file's weights as a transformers folder with the tokenizer of `like`; gives how far one weight is off.

    The reader is transformers' own, not the writer's inverse: a slip in the writer shows.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    hush()
    trained: Any = load(str(like), device="cpu")
    loader: Any = AutoModelForCausalLM  # its types are partial
    config: Any = AutoConfig.from_pretrained(like, trust_remote_code=False)
    try:
        read = loader.from_pretrained(file.parent, gguf_file=file.name, config=config, dtype="float32")
    except (ValueError, KeyError, OSError) as error:
        raise BadInput(f"cannot read {file}: {str(error)[:200]}", "export it again") from error
    ours: dict[str, Any] = read.state_dict()
    far = max(float((ours[name].float() - w.float()).abs().max()) for name, w in trained.model.state_dict().items())
    trained.model.load_state_dict(ours)  # a model read from GGUF counts as quantised, and cannot be saved
    trained.model.save_pretrained(folder)
    trained.tokenizer.save_pretrained(folder)
    write_json(folder / CARD, {"dialect": trained.dialect_id})
    return far


def _served(exported: Path, trained: Loaded) -> Any:
    """The tokenizer that a server of the export has."""
    from transformers import AutoTokenizer

    file = _gguf(exported)
    if file is None:
        loader: Any = AutoTokenizer  # its types are partial
        return loader.from_pretrained(exported, trust_remote_code=False)
    trained.tokenizer.chat_template = _llama.template_of(file)
    return trained.tokenizer

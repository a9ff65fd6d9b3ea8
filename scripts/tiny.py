"""The model in the box, made anew: rows, training, gate, and the folder that ships.

`python -m scripts.tiny` (or `make tiny`) builds rows of toolworld's open world, trains a decoder of 1.5M
parameters on them, asks it of tools that it has never seen, and, where it passes, writes it to the package. About
an hour and a half on one core; a stopped run goes on when the command is given again. Nothing but text made
by this repository goes into it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported; see cli/main.py

from callgrain.core import plugins
from callgrain.core.stats import interval_text, share
from callgrain.core.store import Run, write_atomic, write_json
from callgrain.core.types import Sample, Verdict
from callgrain.corpus.build import BuildRecipe, build
from callgrain.models._box import box
from callgrain.models._tiny import Size, new_tiny
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings
from callgrain.tools._toolworld_micro import vocabulary
from callgrain.train._recipe import TrainRecipe
from callgrain.train._run import train

MIXTURE = "full=3,nest=2,decide=2,parallel=1.5,chain=1,names=1,slots=1,next_call=1,response=0.7"
ROWS = BuildRecipe(source="toolworld:open,seed=1,worlds=512", subtask=MIXTURE, n=330_000, seed=0)
SIZE = Size(160, "cacaa", 4)
GATE = {"single": 0.90, "two calls": 0.70, "nested": 0.70, "decide": 0.80}
"""Least score by what is asked, greedy and unconstrained, on tools of a world that no row comes from."""
_WORD = re.compile(r"[a-z0-9]+")


def main() -> None:
    """Make the model; the last line says where it lies and what it scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/tiny"), help="folder of the run folders")
    parser.add_argument("--gate", type=Path, help="only ask the model of this folder, and write nothing")
    parser.add_argument("--rows", type=Path, help="with --gate: the build that it was trained on")
    parser.add_argument("--n", type=int, default=500, help="samples a sub-task in the gate")
    given = parser.parse_args()
    if given.gate:
        rows = Run.find(given.rows) if given.rows else None
        print(json.dumps(gate(given.gate, rows, given.out, given.n)))
        return
    rows = build(ROWS, given.out)
    start = given.out / "untrained"
    if not (start / "callgrain.json").exists():
        new_tiny(start, (*vocabulary(), *plugins.names("subtasks")), seed=0, size=SIZE)
    trained = train(_settings(start, rows), given.out)
    found = gate(trained.folder / "model", rows, given.out, given.n)
    pack(trained.folder / "model", {"gate": found, "build": ROWS.model_dump(), **trained.read("training")})
    print(json.dumps(found))


def _settings(start: Path, rows: Run) -> TrainRecipe:
    return TrainRecipe(
        model=str(start),
        rows=str(rows.folder),
        epochs=1,
        learning_rate=2e-3,
        warmup=0.02,
        batch_tokens=2048,
        max_length=512,
        precision="bf16",
        save_steps=1000,
        threads=1,
    )


def gate(model: Path, rows: Run | None, out: Path, n: int) -> dict[str, Any]:
    """Score, interval and n by what is asked; `passed` says whether all of GATE is met.

    `new values` are the calls of which no made-up value occurs in any training row.
    """
    recipe = DiagnoseRecipe(
        model=f"local:{model}",
        source="toolworld:open,seed=0",
        split="unseen_tool",
        subtask="parallel,chain,nest,decide",
        probe="subtask",
        n=n,
        max_tokens=64,
        batch_size=64,
    )
    run = diagnose(recipe, out)
    whole = diagnose(recipe.model_copy(update={"subtask": "full", "n": 4 * n}), out)  # a fifth of them are single calls
    samples = {row["key"]: Sample.model_validate(row["sample"]) for r in (run, whole) for row in r.rows("samples")}
    verdicts = {row["key"]: Verdict.model_validate(row["verdict"]) for r in (run, whole) for row in r.rows("verdicts")}
    shown = _words(rows) if rows else frozenset[str]()
    found: dict[str, Any] = {}
    asked = {
        "single": lambda s: s.subtask == "full" and s.traits["kind"] == "single",
        "two calls": lambda s: s.subtask in ("parallel", "chain"),
        "nested": lambda s: s.subtask == "nest",
    }
    for name, belongs in asked.items():
        keys = [k for k, s in samples.items() if k in verdicts and belongs(s)]
        found[name] = _share([verdicts[k].ok for k in keys])
        if rows:
            fresh = [k for k in keys if _made_up(samples[k]) and not _made_up(samples[k]) & shown]
            found[f"{name}, new values"] = _share([verdicts[k].ok for k in fresh])
    balanced = next(r for r in readings(run) if r.name == "balanced_accuracy" and r.by == {"subtask": "decide"})
    found["decide"] = {"value": balanced.value, "low": balanced.low, "high": balanced.high, "n": balanced.n}
    for name, score in found.items():
        print(f"  {name:24} {interval_text(score['value'], score['low'], score['high'])}  n={score['n']}")
    return {**found, "passed": all(found[name]["value"] >= least for name, least in GATE.items())}


def _share(oks: list[bool]) -> dict[str, Any]:
    value, low, high = share(sum(oks), len(oks))
    return {"value": value, "low": low, "high": high, "n": len(oks)}


def _made_up(sample: Sample) -> set[str]:
    """Values of the sample's calls that stand in no list of the world."""
    known = set(vocabulary())
    given = (str(v) for call in sample.answer.calls for v in call.arguments.values())
    return {v for v in given if not v.startswith("$") and v not in known}


def _words(rows: Run) -> frozenset[str]:
    """Every word of the training rows that is in no list of the world."""
    known = set(vocabulary())
    seen = {word for row in rows.rows("rows") for word in _WORD.findall(row["prompt"])}
    return frozenset(seen - known)


def pack(model: Path, story: dict[str, Any]) -> None:
    """The folder that ships: weights in bf16, and beside them what they come from. Raises SystemExit below the gate."""
    import torch

    from callgrain.models._load import load

    if not story["gate"]["passed"]:
        raise SystemExit("the gate is not passed: nothing is written to the package")
    target = box()
    loaded = load(str(model), dtype="float32")
    loaded.model.to(torch.bfloat16).save_pretrained(target, safe_serialization=True)
    loaded.tokenizer.save_pretrained(target)
    shutil.copy(model / "callgrain.json", target)
    write_json(target / "training.json", story)
    write_atomic(target / "README.md", [_card(story).encode()])


def _card(story: dict[str, Any]) -> str:
    """What a reader of the folder should know."""
    scores = "\n".join(
        f"| {name} | {interval_text(s['value'], s['low'], s['high'])} | {s['n']} |"
        for name, s in story["gate"].items()
        if name != "passed"
    )
    return f"""---
license: apache-2.0
library_name: transformers
---

# Callgrain's model in the box

A decoder of {story["parameters"]:,} parameters (LFM2), trained by `make tiny` on {story["tokens"]:,} tokens of
`{story["build"]["source"]}`: text made by this repository, and nothing else. Seed 0; `training.json` has the
recipe and the loss by step. It speaks the `compact` dialect of a world of some hundred words, and is meant for
demonstrations, tests and experiments on one processor, not for use.

Greedy, without masks, on tools of a world that no training row comes from (`new values`: calls whose made-up
values occur in no row):

| asked | right | n |
|---|---|---|
{scores}
"""


if __name__ == "__main__":
    main()

"""The model card: what a model was trained on, what it scores, how it is spoken to, what it is not for.

Every figure comes out of run folders: the training's recipe and rows, the readings of diagnoses.
The front matter is YAML that the hub reads; its values are written as JSON, which YAML holds.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from callgrain.core.errors import BadInput
from callgrain.core.stats import interval_text, paired_difference
from callgrain.core.store import Run
from callgrain.core.types import Reading
from callgrain.export._export import Export, Subject
from callgrain.export._template import LIMITS

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.\-]{0,95}/[\w.\-]{1,96}")
_SHOWN = (
    "method", "adapter", "rank", "alpha", "targets", "epochs", "budget", "learning_rate", "warmup", "weight_decay",
    "beta2", "batch_tokens", "max_length", "precision", "name_weight", "value_weight", "seed",
)  # fmt: skip
_LIBRARIES = ("callgrain", "transformers", "torch", "peft", "tokenizers", "safetensors", "gguf")


def trained_on(subject: Subject) -> Run | None:
    """The build (or the pairs) that a training read; None where it is not at hand any more."""
    recipe = subject.recipe
    for field in ("rows", "pairs"):
        if recipe.get(field):
            try:
                return Run.find(Path(recipe[field]))
            except BadInput:
                return None
    return None


def card(export: Export, diagnoses: Mapping[str, Run], same: Mapping[str, int], notes: Sequence[str]) -> str:
    """The card's text: front matter, then Markdown. `same` counts prompts that the template spells as training."""
    rows = trained_on(export.subject)
    parts = [
        _front(export, diagnoses),
        f"# {_cell(export.subject.name)}",
        _opening(export),
        _scores(diagnoses),
        _training(export.subject),
        _data(rows),
        _use(export, same),
        _limits(export, rows, notes),
        _versions(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front(export: Export, diagnoses: Mapping[str, Run]) -> str:
    """YAML front matter; what is not known is not claimed."""
    # SVF is no format of PEFT's; as LoRA it is
    apart = "callgrain" if export.subject.recipe.get("adapter", "").startswith("svf") else "peft"
    alone = "peft" if export.recipe.rank else apart
    values: dict[str, Any] = {
        "library_name": {"gguf": "gguf", "adapter": alone}.get(export.recipe.format, "transformers"),
        "pipeline_tag": "text-generation",
        "tags": ["function-calling", "tool-use", "callgrain"],
    }
    if export.recipe.licence:
        values["license"] = export.recipe.licence
    if _HUB_ID.fullmatch(export.subject.base):
        relation = {"gguf": "quantized", "adapter": "adapter"}.get(export.recipe.format, "finetune")
        values |= {"base_model": export.subject.base, "base_model_relation": relation}
    if "after" in diagnoses:
        values["model-index"] = [{"name": export.subject.name, "results": _results(diagnoses["after"])}]
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join(["---", *lines, "---"])


def _results(after: Run) -> list[dict[str, Any]]:
    """The scores as the hub's model index has them."""
    source = str(after.read("recipe").get("source", "?")).partition(":")
    data = {"name": source[0] if source[1] and "/" in source[2] else "".join(source), "type": source[0]}
    return [
        {
            "task": {"type": "text-generation", "name": f"function calling: {name}"},
            "dataset": data,
            "metrics": [{"type": "accuracy", "name": f"{name}, share right", "value": round(r.value, 4)}],
        }
        for name, r in _oks(after).items()
        if r.value is not None
    ]


def _opening(export: Export) -> str:
    base = f", made from `{_cell(export.subject.base)}`" if export.subject.base else ""
    tongue = export.loaded.dialect_id
    count = sum(p.numel() for p in export.loaded.model.parameters())
    return (
        f"A causal language model for function calling ({count:,} parameters){base}. It was trained with callgrain to "
        f"answer in the dialect `{tongue}`."
    )


def _oks(run: Run) -> dict[str, Reading]:
    """Share right by sub-task."""
    found = (Reading.model_validate(row) for row in run.rows("readings"))
    return {
        str(r.by["subtask"]): r for r in found if r.probe == "subtask" and r.name == "ok" and set(r.by) == {"subtask"}
    }


def _scores(diagnoses: Mapping[str, Run]) -> str:
    """A table of the sub-tasks; with two diagnoses the paired difference on the items that both hold."""
    if not diagnoses:
        return "## Scores\n\nNo diagnosis was given when this card was written."
    found = {name: _oks(run) for name, run in diagnoses.items()}
    gaps = _gaps(diagnoses["before"], diagnoses["after"]) if len(diagnoses) == 2 else {}
    names = list(dict.fromkeys(name for oks in found.values() for name in oks))
    rows = [
        [
            name,
            *(_figure(oks.get(name)) for oks in found.values()),
            *([interval_text(*gaps[name])] if name in gaps else ["n/a"] if gaps else []),
            str(max(oks[name].n for oks in found.values() if name in oks)),
        ]
        for name in names
    ]
    head = ["sub-task", *found, *(["difference, paired"] if gaps else []), "n"]
    of = next(iter(diagnoses.values())).read("recipe")
    source = _cell(str(of.get("source", "?")).partition("/")[0])
    opening = f"Share of replies without a fault, greedy, with 95 % intervals, on `{source}`."
    return f"## Scores\n\n{opening}\n\n{_table(head, rows)}"


def _figure(reading: Reading | None) -> str:
    return interval_text(reading.value, reading.low, reading.high) if reading else "n/a"


def _gaps(before: Run, after: Run) -> dict[str, tuple[float | None, float | None, float | None]]:
    """Paired difference by sub-task, over the items that both runs hold graded."""
    old, new = ({r["key"]: r for r in run.rows("verdicts") if _graded(r)} for run in (before, after))
    pairs: dict[str, list[tuple[bool, bool]]] = {}
    for key in old.keys() & new.keys():
        pairs.setdefault(new[key]["subtask"], []).append((bool(new[key]["ok"]), bool(old[key]["ok"])))
    return {name: paired_difference([a for a, _ in both], [b for _, b in both]) for name, both in pairs.items()}


def _graded(row: Mapping[str, Any]) -> bool:
    return row["verdict"].get("state", "graded") == "graded"


def _training(subject: Subject) -> str:
    if subject.run is None:
        return "## Training\n\nThe run that trained these weights was not at hand when this card was written."
    recipe = subject.recipe
    done: dict[str, Any] = subject.run.read("done")
    unused = ("rank", "alpha", "targets") if recipe.get("adapter", "none") == "none" else ()
    shown = [name for name in _SHOWN if recipe.get(name) is not None and name not in unused]
    rows = [[f"`{name}`", f"`{recipe[name]}`"] for name in shown]
    facts = [("steps", "steps"), ("target_tokens", "target tokens"), ("tokens", "tokens"), ("seconds", "seconds")]
    said = [f"{done[key]:,} {word}" for key, word in facts if isinstance(done.get(key), int | float)]
    return f"## Training\n\n{', '.join(said) or 'No figures were recorded'}.\n\n{_table(['setting', 'value'], rows)}"


def _data(run: Run | None) -> str:
    """Where the rows come from, under which licences, and for which sub-tasks: counted, not quoted."""
    if run is None:
        return "## Data\n\nThe rows were not at hand when this card was written."
    origins: Counter[tuple[str, str, str]] = Counter()
    subtasks: Counter[str] = Counter()
    for name in ("rows", "pairs"):
        for row in run.rows(name):
            held: dict[str, Any] = row.get("pair", row)
            origin: dict[str, Any] = held.get("origin", {})
            dataset, split, licence = (str(origin.get(k, "unknown")) for k in ("dataset", "split", "licence"))
            origins[dataset, split, licence] += 1
            subtasks[str(row.get("subtask", held.get("subtask", "unknown")))] += 1
    total = sum(origins.values())
    from_ = [[*key, f"{n:,}"] for key, n in origins.most_common()]
    shares = [[name, f"{n:,}", f"{n / total:.1%}"] for name, n in subtasks.most_common()]
    seed = run.read("recipe").get("seed", "?")
    return (
        f"## Data\n\n{total:,} rows, built with seed {seed}.\n\n"
        f"{_table(['data set', 'split', 'licence', 'rows'], from_)}\n\n{_table(['sub-task', 'rows', 'share'], shares)}"
    )


def _use(export: Export, same: Mapping[str, int]) -> str:
    end = export.loaded.dialect.end
    said = (
        f"On {same['same']:,} of {same['compared']:,} prompts the chat template gives the very tokens that the model "
        "is trained on."
        if same["compared"]
        else "The chat template was not held against prompts of the training."
    )
    code = (
        "text = tokenizer.apply_chat_template(messages, tools=tools, add_generation_prompt=True, tokenize=False)\n"
        'ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")\n'
        "reply = model.generate(**ids, max_new_tokens=256)"
    )
    return f"## How it is spoken to\n\n```python\n{code}\n```\n\nA turn ends at `{end}`. {said}"


def _limits(export: Export, rows: Run | None, notes: Sequence[str]) -> str:
    """Intended use and limits: the same for every model, and what is known of this one."""
    listed = list(notes)
    if export.loaded.dialect_id in ("compact", "json"):
        listed += LIMITS
    listed.append(
        "Scores are of the sub-tasks and the source named above, and say nothing of other tools or languages."
    )
    listed.append("Calls are not checked before they are made: hold arguments against their schema, and ask before")
    listed[-1] += " anything is changed in the world."
    if rows is not None and rows.read("recipe").get("source", "").startswith("toolworld"):
        listed.append("The rows are generated: requests are shorter and plainer than people's.")
    points = "\n".join(f"- {note}" for note in listed)
    return (
        "## Intended use\n\nChoosing functions and filling their arguments from a conversation, under a program that "
        f"checks and runs the calls.\n\n## Limits\n\n{points}"
    )


def _versions() -> str:
    found: list[str] = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return f"## Made with\n\n{', '.join(found)}."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(str(cell)) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Text from elsewhere, made harmless within a table and a line."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")[:200]

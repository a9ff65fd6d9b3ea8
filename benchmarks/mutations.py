"""Does the grader flag what is wrong, by its right name, and nothing that is right?

    python -m benchmarks.mutations [--quick] [--data FOLDER]

Mutations and equivalences of every kind (see `probes/_card.py`) on samples of both toolworlds and, with
`--data` or CALLGRAIN_SHARED_DATA, of the public sources there; the grader is `strict`. Paths, units and
accents are rare in them all, so `toolworld:full` comes a second time with such values in free texts. Every
disagreement is a bug, of a mutation or of the verifier, and the first of them are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

from callgrain.core import stats
from callgrain.core.types import Call, Ref, Sample
from callgrain.probes._card import STRICT, Case, cases, graders, outcome
from callgrain.probes._equivalences import EQUIVALENCES
from callgrain.probes._graded import SUBTASKS
from callgrain.probes._mutations import MUTATIONS
from callgrain.probes._pool import pool
from callgrain.sources._open import open_source

PUBLIC = {"bfcl": ("bfcl_v4", "test"), "sgd": ("sgd", "dev"), "gsm8k": ("gsm8k", "test")}
GRAINS = tuple(name for name in SUBTASKS if name not in ("response", "decide"))
RESPELT = (
    "/srv/data/new.csv",
    "./out/2024/log.txt",
    "2024-01-11",
    "5 km",
    "12 hours",
    "celsius",
    "Café Zoë",
    "Ångström",
)
SHOWN = 20


def cut(data: Path | None, n: int) -> dict[str, list[Sample]]:
    """The pools by source, up to `n` samples a sub-task."""
    wanted = {"toolworld:full": "", "toolworld:micro": ""}
    for name, (folder, split) in PUBLIC.items():
        if data is not None and (data / folder).is_dir():
            wanted[f"{name}:{data / folder}"] = split
    out: dict[str, list[Sample]] = {}
    for spec, split in wanted.items():
        source, chosen = open_source(spec, split=split)
        label = spec if spec.startswith("toolworld") else spec.partition(":")[0]
        out[label] = [sample for _, sample in pool(source.traces(chosen), GRAINS, n, 0)]
    out["respelt"] = [respelt(sample, at) for at, sample in enumerate(out["toolworld:full"])]
    return out


def respelt(sample: Sample, at: int) -> Sample:
    """The sample with each free text of its answer replaced by a value of a kind that is seldom seen."""
    tools = {t.name: t.properties for t in sample.prompt.tools}
    calls: list[Call] = []
    for call in sample.answer.calls:
        arguments = dict(call.arguments)
        for step, (name, value) in enumerate(call.arguments.items()):
            schema = tools[call.name][name] if call.name in tools else {}
            if isinstance(value, str) and Ref.read(value) is None and not {"enum", "pattern", "format"} & schema.keys():
                arguments[name] = RESPELT[(at + step) % len(RESPELT)]
        calls.append(call.model_copy(update={"arguments": arguments}))
    answer = sample.answer.model_copy(update={"calls": tuple(calls)})
    return sample.model_copy(update={"answer": answer})


def show(kinds: dict[str, Counter[str]]) -> None:
    """The markdown table: one row a kind, then the totals."""
    print("| kind | n | flagged | flagged by its own name |")
    print("|---|---:|---:|---:|")
    for name in MUTATIONS:
        print(row(name, kinds.get(name, Counter())))
    print(row("**all mutations**", total(kinds, MUTATIONS)))
    print("\n| equivalence | n | refused |")
    print("|---|---:|---:|")
    for name, said in [
        *((name, kinds.get(name, Counter())) for name in EQUIVALENCES),
        ("**all equivalences**", total(kinds, EQUIVALENCES)),
    ]:
        n = said.total()
        print(f"| {name} | {n:,} | {stats.interval_text(*stats.share(n - said['passed'], n))} |")


def row(name: str, said: Counter[str]) -> str:
    """One mutation."""
    n = said.total()
    flagged, own = stats.share(n - said["passed"], n), stats.share(said["own"], n)
    return f"| {name} | {n:,} | {stats.interval_text(*flagged)} | {stats.interval_text(*own)} |"


def total(kinds: dict[str, Counter[str]], names: object) -> Counter[str]:
    """Counts of several kinds together."""
    return sum((kinds.get(name, Counter()) for name in names), Counter())  # type: ignore[attr-defined]


def explain(source: str, case: Case, said: str) -> None:
    """One disagreement, with all that it takes to see whose bug it is."""
    sample = case.sample
    gold = [c.model_dump(exclude_none=True) for c in sample.answer.calls]
    print(f"- {source} {sample.subtask} {sample.origin.row}: {case.kind} judged {said}", file=sys.stderr)
    print(f"    gold: {json.dumps(gold, ensure_ascii=False)[:500]}", file=sys.stderr)
    print(f"    said: {case.reply.text[:500]}", file=sys.stderr)


def main() -> None:
    """Run everything; the last line of output is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples")
    named = os.environ.get("CALLGRAIN_SHARED_DATA")
    parser.add_argument("--data", type=Path, default=Path(named) if named else None, help="folder of public data sets")
    given = parser.parse_args()
    began = time.perf_counter()
    judge = graders(STRICT)[STRICT]
    kinds: dict[str, Counter[str]] = {}
    samples: Counter[str] = Counter()
    disagreements = 0
    for source, found in cut(given.data, 10 if given.quick else 100).items():
        for case in cases(found, Random(0)):
            said = outcome(judge, case)
            kinds.setdefault(case.kind, Counter())[said] += 1
            samples[source] += case.kind == "unchanged"  # which is made on every sample that takes part
            if said != ("own" if case.own else "passed"):
                disagreements += 1
                if disagreements <= SHOWN:
                    explain(source, case, said)
    show(kinds)
    wrong, right = total(kinds, MUTATIONS), total(kinds, EQUIVALENCES)
    print("\nsamples: " + ", ".join(f"{name} {count:,}" for name, count in samples.items()))
    result = {
        "name": "mutations",
        "ours": round(wrong["own"] / wrong.total(), 5),
        "peer": None,
        "ratio": None,
        "unit": "share of wrong replies flagged by their own name",
        "n": wrong.total(),
        "flagged": round(1 - wrong["passed"] / wrong.total(), 5),
        "passed": wrong["passed"],
        "equivalences": right.total(),
        "false_rejects": right.total() - right["passed"],
        "samples": samples.total(),
        "kinds": len(kinds),
        "disagreements": disagreements,
        "seconds": round(time.perf_counter() - began, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

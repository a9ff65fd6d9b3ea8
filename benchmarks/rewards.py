"""What each reward pays those who do not try: degenerate policies against stated levels.

    python -m benchmarks.rewards [--quick]

Samples of both worlds of toolworld. Our rewards are held on every sub-task, the published shapes
only where the whole of a call counts, since that is what they were made for. A cell is the mean
reward as a share of the reward's range with its 95 % interval; **bold** is more than the policy may
earn at most, *italics* less than it is owed. Tables are markdown.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections import Counter
from collections.abc import Sequence
from random import Random

from callgrain.core import plugins
from callgrain.core.canonical import text_key
from callgrain.core.protocols import SubTask
from callgrain.core.types import Reply, Sample, Verdict
from callgrain.sources._open import open_source
from callgrain.verify.policies import POLICIES, Row, suite
from callgrain.verify.reward import REWARDS

WORLDS = ("toolworld:full", "toolworld:micro")
WHOLE = ("full", "next_call", "slots", "parallel", "chain", "nest")
TASKS: dict[str, SubTask] = {name: plugins.load("subtasks", name)() for name in plugins.names("subtasks")}


def samples(traces: int) -> list[Sample]:
    """Every sub-task's samples of the first traces of both worlds."""
    found: list[Sample] = []
    for spec in WORLDS:
        source, split = open_source(spec)
        for trace in itertools.islice(source.traces(split), traces):
            for name, task in TASKS.items():
                found += task.samples(trace, Random(text_key("rewards", name, trace.key)))
    return found


def grade(sample: Sample, reply: Reply) -> Verdict:
    """The sub-task's own verdict."""
    return TASKS[sample.subtask].grade(sample, reply)


def table(rows: Sequence[Row], rewards: Sequence[str]) -> None:
    """Print the rows as markdown, a policy a line."""
    print("| policy | n | owed | at most | " + " | ".join(f"`{name}`" for name in rewards) + " |")
    print("|---|---:|---:|---:|" + "---:|" * len(rewards))
    by = {(row.policy, row.reward): row for row in rows}
    for policy in POLICIES:
        mine = [by[policy, name] for name in rewards]
        cells = " | ".join(_cell(row) for row in mine)
        print(f"| `{policy}` | {mine[0].n:,} | {mine[0].due:.3f} | {mine[0].level:.3f} | {cells} |")


def _cell(row: Row) -> str:
    mark = {"too much": "**", "too little": "*"}.get(row.failing, "")
    interval = "" if row.low is None or row.high is None else f" [{row.low:.2f}, {row.high:.2f}]"
    return f"{mark}{row.value:.3f}{mark}{interval}"


def main() -> None:
    """Print the tables; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="30 traces of each world, some 10 seconds")
    given = parser.parse_args()
    began = time.perf_counter()
    drawn = samples(30 if given.quick else 150)
    whole = [s for s in drawn if s.subtask in WHOLE]
    ours = {name: reward for name, reward in REWARDS.items() if not reward.published}
    theirs = {name: reward for name, reward in REWARDS.items() if reward.published}
    failing: dict[str, list[str]] = {}
    for title, pool, rewards in (("Ours, every sub-task", drawn, ours), ("Published, whole calls", whole, theirs)):
        rows = suite(pool, grade, rewards)
        branches = ", ".join(f"{n:,} {branch}" for branch, n in Counter(s.answer.decision for s in pool).most_common())
        print(f"\n{title} ({len(pool):,} samples: {branches})\n")
        table(rows, list(rewards))
        for row in rows:
            if row.failing:
                failing.setdefault(row.reward, []).append(f"{row.policy}: {row.failing}")
    print(f"\n{time.perf_counter() - began:.0f} s")
    count = {who: sum(len(failing.get(name, ())) for name in table) for who, table in (("o", ours), ("p", theirs))}
    shown = {"ours": count["o"], "peer": count["p"], "ratio": None, "unit": "failing rows", "n": len(drawn)}
    print(json.dumps({"name": "rewards", **shown, "failing": failing}))


if __name__ == "__main__":
    main()

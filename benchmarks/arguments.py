"""Arguments of whole calls against their schemas: ours beside `jsonschema`, good calls and bad ones apart.

    python -m benchmarks.arguments [--quick] [--data FOLDER]

Both compile each tool's schema once, before the clock starts, and then judge the same calls in
turns in one process on one core (pin it: `taskset -c 0`); the medians of the rounds' ratios count.
Good calls are BFCL's right answers (`--data`, or CALLGRAIN_SHARED_DATA; without either,
toolworld's), bad ones the same calls with one argument of another type, left out, or made up. The
floor is `jsonschema_rs` called bare. "Kind named" says besides whether it is a type that is wrong;
"every error" is `verify.lint` against `iter_errors`. Where `jsonschema` is not installed it is
installed for the run into a temporary folder.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from callgrain.core.schema import check_of
from callgrain.core.types import Call, Tool
from callgrain.sources._open import open_source
from callgrain.verify.candidates import of_other_types
from callgrain.verify.lint import lint_arguments

Case = tuple[Tool, dict[str, Any]]
PEER = "jsonschema>=4.23,<5"
PASSES = 10
"""Times that the calls are judged in one turn: the first pass finds the other worker's leavings in the cache."""


def cases(spec: str, n: int) -> list[Case]:
    """Every call of the first `n` right answers, with its tool."""
    source, split = open_source(spec)
    found: list[Case] = []
    for trace in itertools.islice(source.traces(split), n):
        tools = {tool.name: tool for tool in trace.tools}
        found += [(tools[c.name], dict(c.arguments)) for c in trace.gold.calls if c.name in tools]
    return found


def spoiled(good: list[Case]) -> Iterator[Case]:
    """The same calls, each with one thing wrong: an argument's type, one left out, one made up."""
    rng = Random(0)
    for number, (tool, arguments) in enumerate(good):
        names = [name for name in arguments if name in tool.required]
        kind = ("type", "missing", "unknown")[number % 3] if names else "unknown"
        changed = dict(arguments)
        if kind == "type":
            name = rng.choice(names)
            changed[name] = rng.choice(of_other_types(changed[name]))
        elif kind == "missing":
            del changed[rng.choice(names)]
        else:
            changed["no_such_parameter"] = 1
        yield tool, changed


def closed(tool: Tool) -> Tool:
    """The tool with its parameters closed, so that one made up is a fault for a schema too."""
    return tool.model_copy(update={"parameters": {**tool.parameters, "additionalProperties": False}})


def peer(folder: Path) -> Any:
    """The `jsonschema` module: the one that is here, or one installed into `folder` for this run."""
    try:
        return importlib.import_module("jsonschema")
    except ImportError:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), PEER]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"jsonschema is not here and cannot be installed ({' '.join(command)}):\n{done.stderr[-800:]}")
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
        return importlib.import_module("jsonschema")


def seconds(work: Callable[[], object]) -> float:
    """Seconds of one pass, over PASSES of them, the collector at rest."""
    gc.collect()
    gc.disable()
    began = time.perf_counter()
    for _ in range(PASSES):
        work()
    spent = time.perf_counter() - began
    gc.enable()
    return spent / PASSES


def rounds(workers: dict[str, Callable[[], object]], count: int) -> dict[str, list[float]]:
    """Seconds of each worker in each round; they take turns, each round beginning with another."""
    spent: dict[str, list[float]] = {who: [] for who in workers}
    order = list(workers)
    for number in range(count + 1):
        for who in order[number % len(order) :] + order[: number % len(order)]:
            spent[who].append(seconds(workers[who]))
    return {who: times[1:] for who, times in spent.items()}  # the first round warms up


def measure(title: str, judged: list[Case], modules: tuple[Any, Any], count: int) -> dict[str, Any]:
    """Print and give the figures of one set of calls: yes or no, then every error."""
    jsonschema, rust = modules
    tools = {id(tool): tool for tool, _ in judged}
    checks = {at: check_of(tool.parameters) for at, tool in tools.items()}
    theirs = {at: jsonschema.Draft202012Validator(tool.parameters) for at, tool in tools.items()}
    bare = {at: rust.validator_for(tool.parameters) for at, tool in tools.items()}
    mine = [(checks[id(tool)], arguments) for tool, arguments in judged]
    other = [(theirs[id(tool)], arguments) for tool, arguments in judged]
    floor = [(bare[id(tool)], arguments) for tool, arguments in judged]
    calls = [(tool, Call(name=tool.name, arguments=arguments)) for tool, arguments in judged]
    apart = sum(
        not (check.fits(a) == (check.complaint(a) is None) == validator.is_valid(a))
        for (check, a), (validator, _) in zip(mine, other, strict=True)
    )
    right = sum(check.complaint(a) is None for check, a in mine)
    spent = rounds(
        {
            "ours": lambda: [check.fits(a) for check, a in mine],
            "ours, kind named": lambda: [check.complaint(a) for check, a in mine],
            "peer": lambda: [validator.is_valid(a) for validator, a in other],
            "floor": lambda: [validator.is_valid(a) for validator, a in floor],
            "ours, every error": lambda: [lint_arguments(call, tool, "calls.0") for tool, call in calls],
            "peer, every error": lambda: [list(validator.iter_errors(a)) for validator, a in other],
        },
        count,
    )
    rates = {who: len(judged) / statistics.median(times) for who, times in spent.items()}
    found = {"n": len(judged), "right": right, "disagree": apart, **{k: round(v) for k, v in rates.items()}}
    for name, above, below in (
        ("ratio", "peer", "ours"),
        ("named_ratio", "peer", "ours, kind named"),
        ("every_error_ratio", "peer, every error", "ours, every error"),
        ("of_floor", "floor", "ours"),
    ):
        found[name] = round(statistics.median(a / b for a, b in zip(spent[above], spent[below], strict=True)), 3)
    print(f"{title}: {len(judged):,} calls of {len(tools):,} tools, {right:,} right, {apart} judged differently")
    print(f"  yes or no    ours {rates['ours']:>10,.0f}/s  jsonschema {rates['peer']:>9,.0f}/s  x{found['ratio']:.1f}")
    named = rates["ours, kind named"], rates["peer"], found["named_ratio"]
    print(f"  kind named   ours {named[0]:>10,.0f}/s  jsonschema {named[1]:>9,.0f}/s  x{named[2]:.1f} (its yes or no)")
    every = rates["ours, every error"], rates["peer, every error"], found["every_error_ratio"]
    print(f"  every error  ours {every[0]:>10,.0f}/s  jsonschema {every[1]:>9,.0f}/s  x{every[2]:.1f}")
    print(f"  floor        jsonschema_rs bare {rates['floor']:,.0f}/s: ours reaches {found['of_floor']:.0%} of it")
    return found


def main() -> None:
    """Print the figures; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer calls and rounds: some ten seconds")
    parser.add_argument("--data", type=Path, help="folder of bfcl_v4 (default: in $CALLGRAIN_SHARED_DATA)")
    given = parser.parse_args()
    shared = os.environ.get("CALLGRAIN_SHARED_DATA")
    data = given.data or (Path(shared) / "bfcl_v4" if shared else None)
    there = data is not None and data.is_dir()
    if not there:
        print("bfcl: not measured, no such data here (--data FOLDER, or CALLGRAIN_SHARED_DATA); toolworld instead")
    spec, n = f"bfcl:{data}" if there else "toolworld:full", 300 if given.quick else 2_000
    folder = Path(tempfile.mkdtemp(prefix="callgrain-peer-"))
    try:
        modules = peer(folder), importlib.import_module("jsonschema_rs")
        kept: dict[int, Tool] = {}
        good = [(kept.setdefault(id(tool), closed(tool)), arguments) for tool, arguments in cases(spec, n)]
        count = 5 if given.quick else 11
        found = {
            "good": measure("good calls", good, modules, count),
            "bad": measure("bad calls", list(spoiled(good)), modules, count),
        }
    finally:
        shutil.rmtree(folder)
    both = [found["good"], found["bad"]]
    ours, theirs = (sum(f["n"] for f in both) / sum(f["n"] / f[who] for f in both) for who in ("ours", "peer"))
    shown = {"ours": round(ours), "peer": round(theirs), "ratio": round(ours / theirs, 2)}
    size = sum(f["n"] for f in both)
    print(json.dumps({"name": "arguments", **shown, "unit": "validations/s", "n": size, "data": spec[:4], **found}))


if __name__ == "__main__":
    main()

"""Published requests with the tools they need, in one catalogue padded with operations; and vectors on disk."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from callgrain.core.canonical import text_key
from callgrain.core.types import Sample, Tool
from callgrain.probes._graded import subtask_of
from callgrain.probes._retrieval_library import Library
from callgrain.retrievers.dense import Dense
from callgrain.sources._open import open_source
from callgrain.tools._catalogue import read_catalogue

OPERATIONS = "tool_catalog/powerplatform_operations.jsonl.xz"
SETS = {
    "StableToolBench": "stabletoolbench:{data}/stabletoolbench",
    "MetaTool": "metatool,cap=5:{data}/metatool_single",
}
"""By name the source; MetaTool has up to 1,122 queries a tool, of which five are taken."""

PIECE = 1000
"""Tools that are encoded before their vectors are written down."""


@dataclass(frozen=True)
class Asked:
    """One set's requests, each with the places of its gold tools; `own` are the places of the set's own tools."""

    name: str
    requests: tuple[str, ...]
    gold: tuple[tuple[int, ...], ...]
    own: frozenset[int]


def read(data: Path, queries: int, most: int) -> tuple[tuple[Tool, ...], list[Asked]]:
    """One catalogue of up to `most` tools (0: all) and the sets that ask for tools in it; `queries` of each (0: all).

    Raises CallgrainError where the files are not there.
    """
    rows = {name: _rows(spec.format(data=data), queries) for name, spec in SETS.items()}
    every = Library.of(row for found in rows.values() for row in found)
    padding = read_catalogue(f"operations:{data / OPERATIONS}").tools
    room = max(0, most - len(every.tools)) if most else len(padding)
    padding = Random(text_key("retrieval", "padding")).sample(list(padding), min(room, len(padding)))
    known = {(tool.name, tool.description) for tool in every.tools}
    tools = (*every.tools, *(tool for tool in padding if (tool.name, tool.description) not in known))
    places = {(tool.name, tool.description): place for place, tool in enumerate(tools)}
    sets: list[Asked] = []
    for name, found in rows.items():
        library = Library.of(found)
        own = [places[tool.name, tool.description] for tool in library.tools]
        gold = tuple(tuple(own[place] for place in one.gold) for one in library.wanted)
        sets.append(Asked(name, tuple(one.request for one in library.wanted), gold, frozenset(own)))
    return tools, sets


def _rows(spec: str, queries: int) -> list[tuple[str, Sample]]:
    source, _ = open_source(spec)
    traces = [trace for split in source.splits for trace in source.traces(split)]
    if queries and len(traces) > queries:
        traces = Random(text_key("retrieval", spec.partition(":")[0])).sample(traces, queries)
    cutter = subtask_of("names")
    return [(trace.key, sample) for trace in traces for sample in cutter.samples(trace, Random(0))]


def encoded(tools: Sequence[Tool], folder: Path | None) -> tuple[Dense, float, int]:
    """(index, seconds, tools that were encoded in them); vectors are kept in `folder` by hash of their documents.

    They are written down every `PIECE` tools, with the seconds so far: a run that is cut off goes on from there.
    """
    file = folder / "vectors.npz" if folder else None
    known: dict[str, Any] = {}
    spent = {"tools": 0, "seconds": 0.0}
    if file is not None and file.is_file():
        with np.load(file, allow_pickle=False) as kept:
            known = dict(zip(kept["keys"].tolist(), kept["vectors"], strict=True))
        if file.with_suffix(".json").is_file():
            spent = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    Dense(())  # loading the encoder is no part of indexing
    for start in range(0, len(tools), PIECE):
        before, began = len(known), time.perf_counter()
        known = Dense(tools[start : start + PIECE], known).vectors
        made = len(known) - before
        if not made:
            continue
        spent = {"tools": spent["tools"] + made, "seconds": spent["seconds"] + time.perf_counter() - began}
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez(file, keys=np.array(list(known)), vectors=np.stack(list(known.values())))
            file.with_suffix(".json").write_text(json.dumps(spent), encoding="utf-8")
    return Dense(tools, known), spent["seconds"], int(spent["tools"])

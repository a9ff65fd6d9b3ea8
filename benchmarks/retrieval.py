"""Are a request's tools found among 100, 1,000 and 16,000? BM25, MiniLM and both, beside chance.

    python -m benchmarks.retrieval [--quick] [--data FOLDER] [--cache FOLDER] [--save FILE]

Requests of StableToolBench (2 to 3 tools each) and MetaTool (one each), in one catalogue of both sets' tools and some
13,500 operations of public connectors, indexed as a whole. Figures at a smaller size are the exact mean over all
parts of that size that hold the request's gold tools (`probes/_retrieval_figures.py`); "own" is the set's own tools
only, which are nearer to one another than random ones are. Both sets are measured on and nothing is fitted to them.
A gold set is what a query was made from: another tool may do as well, so that misses are an upper bound.
Intervals are over requests. Vectors are kept in `--cache`: encoding takes minutes on one core.
Without the extra `dense`, BM25 alone. `--quick` takes 150 requests a set among 1,000 tools.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks._retrieval_data import Asked, encoded, read
from callgrain.core import stats
from callgrain.core.protocols import Retriever
from callgrain.core.types import Tool
from callgrain.probes._retrieval_figures import METRICS, Figures, by_chance, expected, mean_share, standing
from callgrain.retrievers._encoder import is_installed
from callgrain.retrievers.bm25 import BM25
from callgrain.retrievers.fused import Fused

KS = (5, 10)
SIZES = (100, 1_000)
TIMED = 100
"""Requests over which the search is timed."""
COLUMNS = ("recall@5", "recall@10", "complete@5", "complete@10", "ndcg@10")
CONSOLE = Console(width=150)

Rows = list[Mapping[int, Figures]]
"""One a request: figures by k."""


def indexed(tools: Sequence[Tool], cache: Path | None) -> tuple[dict[str, Retriever], dict[str, dict[str, Any]]]:
    """Every retriever that is installed, over the tools; and what indexing took."""
    start = time.perf_counter()
    words = BM25(tools)
    made: dict[str, Retriever] = {"bm25": words}
    spent: dict[str, dict[str, Any]] = {"bm25": {"index_s": time.perf_counter() - start, "tools": len(tools)}}
    if not is_installed():
        CONSOLE.print("dense and fused are left out: pip install 'callgrain[dense]'")
        return made, spent
    meaning, seconds, encoded_tools = encoded(tools, cache)
    made |= {"dense": meaning, "fused": Fused(tools, (words, meaning))}
    spent["dense"] = {"index_s": seconds, "tools": encoded_tools}
    spent["fused"] = {"index_s": seconds + spent["bm25"]["index_s"], "tools": encoded_tools}
    return made, spent


def ranked(made: Retriever, asked: Asked, n_tools: int) -> tuple[list[list[int]], float]:
    """(places in order for each request, milliseconds a request for the first ten, over the first `TIMED`)."""
    start = time.perf_counter()
    made.rank(asked.requests[:TIMED], max(KS))
    spent = (time.perf_counter() - start) * 1000 / max(1, len(asked.requests[:TIMED]))
    return [[place for place, _ in ranking] for ranking in made.rank(asked.requests, n_tools)], spent


def figures(asked: Asked, rankings: Sequence[Sequence[int]], n_tools: int) -> dict[str, Rows]:
    """Figures of every request by catalogue: own tools, the sizes, and the whole."""
    whole = [standing(ranking, gold) for ranking, gold in zip(rankings, asked.gold, strict=True)]
    own = [
        standing([place for place in ranking if place in asked.own], gold)
        for ranking, gold in zip(rankings, asked.gold, strict=True)
    ]
    out = {f"own {len(asked.own):,}": [expected(one, len(asked.own), len(asked.own), KS) for one in own]}
    for size in (*(size for size in SIZES if size < n_tools), n_tools):
        out[f"{size:,}"] = [expected(one, n_tools, size, KS) for one in whole]
    return out


def chance(asked: Asked, size: int) -> Rows:
    """The same of an order without skill."""
    return [{k: by_chance(len(gold), size, k) for k in KS} for gold in asked.gold]


def column(rows: Rows, name: str) -> list[float]:
    """One figure of every request."""
    metric, _, k = name.partition("@")
    return [row[int(k)][METRICS.index(metric)] for row in rows]


def line(rows: Rows) -> list[str]:
    """Every figure with its interval."""
    return [stats.interval_text(*mean_share(column(rows, name))).replace(" %", "") for name in COLUMNS]


def measure(asked: Asked, retrievers: Mapping[str, Retriever], n_tools: int) -> dict[str, Any]:
    """One set's table, printed; and its figures."""
    found: dict[str, dict[str, Rows]] = {}
    speed: dict[str, float] = {}
    for name, made in retrievers.items():
        rankings, speed[name] = ranked(made, asked, n_tools)
        found[name] = figures(asked, rankings, n_tools)
    table = Table("tools", "retriever", *COLUMNS, title=f"{asked.name}: {len(asked.requests):,} requests, %")
    out: dict[str, Any] = {"n": len(asked.requests), "ms_a_query": speed, "figures": {}}
    for catalogue in found["bm25"]:
        size = int(catalogue.removeprefix("own ").replace(",", ""))
        for name, rows in [*((name, by[catalogue]) for name, by in found.items()), ("chance", chance(asked, size))]:
            shown = line(rows) if name != "chance" else [f"{100 * fmean(column(rows, c)):.1f}" for c in COLUMNS]
            table.add_row(catalogue if name == "bm25" else "", name, *shown, end_section=name == "chance")
            values = {c: mean_share(column(rows, c)) for c in COLUMNS}
            out["figures"].setdefault(catalogue, {})[name] = values
    CONSOLE.print(table)
    if "fused" in found:
        for catalogue in found["fused"]:
            pair = [column(found[name][catalogue], "complete@10") for name in ("fused", "bm25")]
            gap = stats.mean([a - b for a, b in zip(*pair, strict=True)])
            out["figures"][catalogue]["fused minus bm25, complete@10"] = gap
            CONSOLE.print(f"  {catalogue} tools: complete@10, fused minus bm25: {stats.interval_text(*gap)}")
    return out


def main() -> None:
    """Print the tables; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="150 requests a set among 1,000 tools")
    named = os.environ.get("CALLGRAIN_SHARED_DATA")
    parser.add_argument("--data", type=Path, default=Path(named) if named else None, help="folder of public data sets")
    parser.add_argument("--cache", type=Path, help="folder in which vectors of tools are kept")
    parser.add_argument("--save", type=Path, help="write the JSON object into this file too")
    given = parser.parse_args()
    if given.data is None or not given.data.is_dir():
        raise SystemExit("there is no folder of public data sets: give --data FOLDER or set CALLGRAIN_SHARED_DATA")
    tools, sets = read(given.data, 150 if given.quick else 0, 1_000 if given.quick else 0)
    retrievers, spent = indexed(tools, given.cache)
    out: dict[str, Any] = {"tools": len(tools), "index": spent}
    for asked in sets:
        out[asked.name] = measure(asked, retrievers, len(tools))
    speeds = Table("retriever", "index s", "tools encoded or indexed", *(f"ms a query, {a.name}" for a in sets))
    for name, took in spent.items():
        each = [f"{out[asked.name]['ms_a_query'][name]:.2f}" for asked in sets]
        speeds.add_row(name, f"{took['index_s']:.2f}", f"{took['tools']:,}", *each)
    CONSOLE.print(speeds)
    if given.save:
        given.save.write_text(json.dumps(out, indent=1), encoding="utf-8")
    last = out[sets[0].name]["figures"][f"{len(tools):,}"]
    peer = last["bm25"]["complete@10"][0]
    ours = last.get("fused", last["bm25"])["complete@10"][0]
    shown = {"name": "retrieval", "ours": round(ours, 4), "peer": round(peer, 4), "ratio": round(ours / peer, 3)}
    unit = f"COMP@10 of {'fused' if 'fused' in last else 'bm25'} and bm25 on {sets[0].name}, {len(tools):,} tools"
    print(json.dumps({**shown, "unit": unit, "n": out[sets[0].name]["n"]}))


if __name__ == "__main__":
    main()

"""`build`: rows a second against a floor, and memory that must not grow with the rows.

    python -m benchmarks.build [--quick] [--sgd FOLDER]

The floor is a plain loop over the same traces that writes each as JSON and keeps the lines in a
list: no sub-task is cut, no schema looked at, no share kept, nothing can be resumed. It is what
the traces alone cost, so `ratio` (ours / floor) says how far off that we are; it cannot exceed 1 by much.
Each measurement is a process of its own; ours and the floor take turns, and the medians count.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROUNDS = 3
SUBTASKS = {"sgd": "names,slots,next_call,chain,response,decide,full"}
"""What a source has rows for, where that is not everything: SGD has no parallel and no nested calls."""


def ours(source: str, n: int, folder: Path) -> dict[str, Any]:
    """Build `n` rows; `traces` is how many traces that took."""
    from callgrain import build

    began = time.perf_counter()
    run = build(source, folder, n=n, subtask=SUBTASKS.get(source.partition(":")[0], "all"))
    seconds = time.perf_counter() - began
    with (run / "rows.jsonl").open("rb") as file:
        count, last = 0, b""
        for line in file:
            count, last = count + 1, line
    return {"rows": count, "traces": json.loads(last)["at"] + 1, "seconds": seconds}


def floor(source: str, n: int, folder: Path) -> dict[str, Any]:
    """Write `n` traces as JSON, by way of a list of all lines."""
    from callgrain import open_source

    began = time.perf_counter()
    lines = [json.dumps(t.model_dump(mode="json")) for t in itertools.islice(open_source(source, "train"), n)]
    (folder / "traces.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return {"rows": len(lines), "traces": len(lines), "seconds": time.perf_counter() - began}


def measure(what: str, source: str, n: int) -> dict[str, Any]:
    """One measurement in a process of its own; `peak_mb` is its largest resident memory (MiB)."""
    folder = Path(tempfile.mkdtemp(prefix="callgrain-build-"))
    try:
        command = [sys.executable, "-m", "benchmarks.build", "--measure", what, source, str(n), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        shutil.rmtree(folder)
    if done.returncode:
        sys.exit(f"{what} {source} {n}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _measured(what: str, source: str, n: str, folder: str) -> None:
    found = {"ours": ours, "floor": floor}[what](source, int(n), Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    print(json.dumps({**found, "peak_mb": round(peak, 1)}))


def throughput(source: str, n: int) -> dict[str, float]:
    """Rows a second of ours and of the floor over the same traces, alternating; medians of ROUNDS."""
    seconds: dict[str, list[float]] = {"ours": [], "floor": []}
    made: dict[str, Any] = {}
    for _ in range(ROUNDS):
        made = measure("ours", source, n)
        seconds["ours"].append(made["seconds"])
        seconds["floor"].append(measure("floor", source, made["traces"])["seconds"])
    mine, base = (made["rows"] / statistics.median(seconds[who]) for who in ("ours", "floor"))
    shown = f"{made['rows']:,} rows from {made['traces']:,} traces"
    print(f"{source.partition(':/')[0]:18} {mine:8,.0f} rows/s, floor {base:8,.0f}, ratio {mine / base:.2f}  ({shown})")
    return {"ours": round(mine, 1), "peer": round(base, 1), "ratio": round(mine / base, 3), "n": made["rows"]}


def main() -> None:
    """Print the figures; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under 3 minutes: fewer rows, memory at 10k and 100k")
    parser.add_argument("--sgd", type=Path, help="folder of SGD (default: sgd/ in $CALLGRAIN_SHARED_DATA)")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        return _measured(*given.measure)
    shared = os.environ.get("CALLGRAIN_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
    sgd = given.sgd or Path(shared) / "sgd"
    n = 1_000 if given.quick else 20_000
    micro = throughput("toolworld:micro", n)
    more = {"toolworld:full": throughput("toolworld:full", n)}
    if sgd.is_dir():
        more["sgd"] = throughput(f"sgd:{sgd}", n // 4)
    else:
        print("sgd: not measured, no such data here (--sgd FOLDER, or CALLGRAIN_SHARED_DATA)")
    memory: dict[str, dict[str, float]] = {}
    for rows in (10_000, 100_000) if given.quick else (10_000, 1_000_000):
        found = measure("ours", "toolworld:micro", rows)
        base = measure("floor", "toolworld:micro", found["traces"]) if rows == 10_000 else {"peak_mb": None}
        memory[str(rows)] = {"ours_mb": found["peak_mb"], "floor_mb": base["peak_mb"]}
        shown = f", floor {base['peak_mb']:,.0f} MiB" if base["peak_mb"] else ""
        print(
            f"peak memory at {rows:>9,} rows: {found['peak_mb']:,.0f} MiB{shown} ({found['seconds']:,.0f} s)",
            flush=True,
        )
    print(json.dumps({"name": "build", **micro, "unit": "rows/s", "sources": more, "memory": memory}))
    return None


if __name__ == "__main__":
    main()

"""Does each probe find what was planted? Truth, what was read, its interval; and coverage over simulated runs.

`python -m benchmarks.recovery [PROBE ...] [--quick] [--runs N]`
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from rich.console import Console
from rich.table import Table

from benchmarks._planting import Covered, Found
from callgrain.core.stats import interval_text

PREFIX = "_plants_"
CONSOLE = Console(width=132)


def planted() -> Iterator[tuple[str, ModuleType]]:
    """(probe, module) of every file of plants."""
    for path in sorted(Path(__file__).parent.glob(f"{PREFIX}*.py")):
        yield path.stem.removeprefix(PREFIX), importlib.import_module(f"benchmarks.{path.stem}")


def main() -> None:
    """Print both tables and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("probes", nargs="*", help="probes (default: every one that has plants)")
    parser.add_argument("--quick", action="store_true", help="fewer samples, 200 simulated runs")
    parser.add_argument("--runs", type=int, default=1000, help="simulated runs")
    given = parser.parse_args()
    runs = 200 if given.quick else given.runs
    truths = Table("probe", "state", "planted", "found", "n", "held", title="planted and found")
    covers = Table("probe", "figure", "interval holds the truth", "runs", title="coverage of the 95 % intervals")
    held = known = 0
    for name, module in planted():
        if given.probes and name not in given.probes:
            continue
        start = time.perf_counter()
        for row in module.plants(given.quick):
            held, known = held + bool(row.is_held), known + (row.is_held is not None)
            truths.add_row(name, row.state, _shown(row.planted), *_found(row))
        for cover in module.coverage(runs):
            covers.add_row(name, cover.figure, _rate(cover), str(cover.runs))
        CONSOLE.log(f"{name}: {time.perf_counter() - start:.0f} s")
    CONSOLE.print(truths, covers)
    print(json.dumps({"name": "recovery", "held": held, "of": known, "unit": "planted truths inside their interval"}))


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"


def _found(row: Found) -> tuple[str, str, str]:
    one = row.reading
    if one is None:
        return "nothing", "", ""
    shown = interval_text(one.value, one.low, one.high, percent=False)
    return shown, str(one.n), {True: "yes", False: "NO", None: ""}[row.is_held]


def _rate(cover: Covered) -> str:
    return f"{cover.held / cover.runs:.1%}" if cover.runs else "n/a"


if __name__ == "__main__":
    main()

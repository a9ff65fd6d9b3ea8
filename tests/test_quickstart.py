"""The quickstart at a small scale: the whole loop, stopped midway and run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the train extra is not installed")

SMALL = ["--rows", "200", "--n", "16", "--practice", "toolworld:farm,seed=1,worlds=4"]


def start(out: Path, *more: str) -> subprocess.Popen[str]:
    # A shell that starts a command in the background has it and its children ignore Ctrl-C: ask for it again.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from callgrain.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, "quickstart", *SMALL, "--out", str(out), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_the_loop_is_stopped_and_goes_on_where_it_was(tmp_path: Path) -> None:
    stopped = start(tmp_path)
    deadline = time.monotonic() + 120
    pattern = "quickstart/*/steps/diagnose/*/replies.jsonl"
    while not any(p.stat().st_size for p in tmp_path.glob(pattern)) and time.monotonic() < deadline:
        time.sleep(0.05)
    stopped.send_signal(signal.SIGINT)
    _, said = stopped.communicate(timeout=60)
    assert stopped.returncode == 130, said
    assert "run the same command again" in said
    asked = [line for p in tmp_path.glob("quickstart/*/steps/diagnose/*/replies.jsonl") for line in p.open()]
    assert asked

    again = start(tmp_path, "--json", "--quiet")
    output, said = again.communicate(timeout=240)
    assert again.returncode == 0, said
    assert said == ""
    kept = [line for p in tmp_path.glob("quickstart/*/steps/diagnose/*/replies.jsonl") for line in p.open()]
    assert set(asked[:-1]) <= set(kept), "what was answered is asked no second time"

    (line,) = output.splitlines()
    done = json.loads(line)
    assert len(done["before"]) == len(done["after"]) == 9
    for name, (value, low, high, verdict) in done["difference"].items():
        assert value == pytest.approx(done["after"][name][0] - done["before"][name][0])
        assert low <= value <= high
        assert verdict in ("better", "worse", "no difference shown")
    page = Path(done["page"]).read_text(encoding="utf-8")
    assert "never seen" in page
    rows = [json.loads(text) for p in tmp_path.glob("quickstart/*/steps/build/*/rows.jsonl") for text in p.open()]
    assert len(rows) == 200
    assert len({row["key"] for row in rows}) > 190  # a few short requests may meet by chance


def test_no_row_that_it_trains_on_shows_a_tool_that_it_asks_about(tmp_path: Path) -> None:
    from callgrain import build
    from callgrain.sources.toolworld import Toolworld

    folder = build("toolworld:farm,seed=1,worlds=8", out=tmp_path, n=300)
    asked = Toolworld("farm").world
    hidden = {spec.known_as for name, spec in asked.specs.items() if not asked.seen_tool(name)}
    worlds = [Toolworld(f"farm,seed={seed}").world for seed in range(1, 9)]
    known = {name: spec.known_as for world in worlds for name, spec in world.specs.items()}
    shown = set()
    for text in (folder / "rows.jsonl").open(encoding="utf-8"):
        shown |= {tool["name"] for tool in json.loads(json.loads(text)["prompt"]).get("tools", [])}
    assert len(shown) > 100
    assert not {known[name] for name in shown} & hidden

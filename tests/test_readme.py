"""The README is executed: its files are written, its commands run, in the order in which they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:<!-- file: (?P<file>[\w.]+) -->\n)?```(?P<kind>\w*)\n(?P<body>.*?)```", re.DOTALL)


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    binaries = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment.pop("CALLGRAIN_HOME", None)
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_tour_runs_as_it_stands(tmp_path: Path) -> None:
    ran = []
    for block in BLOCK.finditer(README):
        if block["file"]:
            (tmp_path / block["file"]).write_text(block["body"], encoding="utf-8")
        elif block["kind"] == "bash":
            done = run(block["body"], tmp_path)
            assert done.returncode == 0, f"{block['body']}\n{done.stdout}\n{done.stderr}"
            ran.append(done.stdout)
    assert len(ran) == 5, "the README's blocks are not where this test looks for them"
    assert "refund_order(order_id, amount, reason?)" in ran[0]
    built = Path(tmp_path / ran[1].strip().splitlines()[-1])
    assert len((built / "rows.jsonl").read_text(encoding="utf-8").splitlines()) > 100
    assert all(name in ran[1] for name in ("parallel", "chain", "decide"))
    folder = Path(tmp_path / ran[2].strip().splitlines()[-1])
    assert (folder / "report.html").stat().st_size > 10_000
    assert "missing_argument" in ran[2]
    probed = (Path(tmp_path / ran[3].strip().splitlines()[-1]) / "report.html").read_text(encoding="utf-8")
    assert 'id="p-shift"' in probed
    assert 'id="p-metamorphic"' in probed
    assert re.search(r"50\.0 %.*\(4\)", ran[4]), ran[4]
    assert "wrong_type" in ran[4]
    graded = Path(tmp_path / ran[4].strip().splitlines()[-1])
    assert "probably meant" in (graded / "report.html").read_text(encoding="utf-8")


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), command


def test_the_files_that_it_names_are_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_verbs_that_it_names_exist() -> None:
    shown = run("callgrain --help", ROOT).stdout
    for verb in set(re.findall(r"(?<!from )callgrain (\w+)", README)) - {"VERB"}:
        assert re.search(rf"^\s+{verb}\b", shown, re.MULTILINE), verb

"""The documents are executed: CONTRIBUTING's plug-ins run, ARCHITECTURE's map is the tree."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from callgrain.core import plugins
from callgrain.core.recipe import Recipe
from callgrain.core.types import Call, Fault, Message
from callgrain.verify.faults import TABLE

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "callgrain"
DOCUMENTS = [p for p in ROOT.glob("*.md") if p.name != "CHANGELOG.md"]
EXAMPLES = dict(
    re.findall(
        r"```python\n# (\w+/\w+)\.py\n(.*?)^```$", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL | re.MULTILINE
    )
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CONTRIBUTING's examples as a package that offers them by entry points."""
    site = tmp_path_factory.mktemp("site")
    points: list[str] = []
    for place, code in EXAMPLES.items():
        family, name = place.split("/")
        (site / f"extra_{family}_{name}.py").write_text(code)
        points.append(f"[callgrain.{family}]\n{name} = extra_{family}_{name}:plugin\n")
    about = site / "extra-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("\n".join(points))
    return site


def _callgrain(site: Path, *arguments: str) -> list[dict]:
    """JSON lines that a verb prints."""
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "callgrain.cli.main", *arguments, "--json", "--quiet"]
    done = subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _last_run(site: Path) -> str:
    """The folder of the newest diagnosis, with its page written."""
    (folder,) = (site / "runs" / "diagnose").iterdir()
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "callgrain.cli.main", "report", str(folder)]
    subprocess.run(command, cwd=site, env=environment, capture_output=True, timeout=120, check=True)
    return str(folder)


def test_every_family_has_an_example() -> None:
    assert {place.split("/")[0] for place in EXAMPLES} == set(plugins.FAMILIES)


def test_the_examples_are_found_with_their_captions(installed: Path) -> None:
    found = {f"{row['family']}/{row['name']}": row["caption"] for row in _callgrain(installed, "ls")}
    for place, code in EXAMPLES.items():
        own = (ast.get_docstring(ast.parse(code)) or "").splitlines()[0]
        assert found[place].startswith(own), place
        assert len(own) <= 70, place


def test_the_examples_diagnose_build_import_and_train(installed: Path) -> None:
    chosen = ("--subtask", "first_name,names,slots", "--probe", "subtask,reply_length")
    readings = _callgrain(installed, "diagnose", "--model", "first_tool", "--source", "tickets:15", *chosen)
    scores = {
        r["by"]["subtask"]: (r["value"], r["n"]) for r in readings if r["probe"] == "subtask" and r["name"] == "ok"
    }
    assert scores == {"first_name": (1.0, 15), "names": (1.0, 15), "slots": (0.0, 15)}
    lengths = [r for r in readings if r["probe"] == "length"]
    assert [r["value"] for r in lengths] == [len("close_ticket")] * 3
    page = (Path(_last_run(installed)) / "report.html").read_text()
    assert "Length of replies" in page
    assert '<td data-of="characters">' in page
    built = _callgrain(installed, "build", "tickets:15", "--n", "10", "--subtask", "first_name")[-1]
    assert (built["rows"], built["by_subtask"]) == (10, {"first_name": 10})
    (installed / "old").mkdir()
    (installed / "old" / "config.json").write_text("{}")
    trained = _callgrain(installed, "train", "--rows", built["run"], "--model", "old", "--method", "unchanged")[-1]
    assert (installed / trained["model"] / "config.json").read_text() == "{}"
    recorded = [{"id": str(2 * i + 1), "shell": f"close_ticket ticket={2 * i + 1}"} for i in range(4)]
    recorded += [{"id": "9", "shell": "open_ticket ticket=9"}, {"id": "11", "shell": "close_ticket ticket"}]
    (installed / "out.jsonl").write_text("\n".join(json.dumps(row) for row in recorded))
    graded = _callgrain(
        installed, "grade", "out.jsonl", "--source", "tickets:15", "--split", "test", "--grader", "strict,first_call"
    )
    assert [row["first_call"]["ok"] for row in graded] == [True] * 4 + [False] * 2
    assert [row["strict"]["faults"] for row in graded] == [[]] * 4 + [["unknown_tool"], ["unparsable"]]
    (installed / "tools.txt").write_text("find_train origin destination\nring\n")
    names = [tool["name"] for tool in _callgrain(installed, "tools", "signatures:tools.txt")]
    assert names == ["find_train", "ring"]
    exported = _callgrain(installed, "export", "tiny", "--format", "shapes", "--n", "4")[-1]
    shapes = json.loads((installed / exported["run"] / "model" / "shapes.json").read_text())
    assert shapes["model.embed_tokens.weight"][0] > 1000


@pytest.mark.parametrize(
    "message",
    [
        Message(text="Hello."),
        Message(calls=(Call(name="f", arguments={"x": "```"}, label="a"), Call(name="g"))),
        Message(text="so", calls=(Call(name="f"),)),
        Message(text="```json\n[]\n```"),
        Message(thought="hm", calls=(Call(name="f"),)),
    ],
)
def test_the_example_dialect_reads_back_what_it_writes(installed: Path, message: Message) -> None:
    spec = importlib.util.spec_from_file_location("fenced", installed / "extra_dialects_fenced.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    dialect = module.plugin()
    assert dialect.parse(dialect.write(message)) == message
    assert isinstance(dialect.parse("```json\n[{"), Fault)


def test_architecture_maps_every_file_and_no_other() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    listed = set(re.findall(r"^\| `([\w/]+\.py)` \|", text, re.MULTILINE))
    found = {p.relative_to(SOURCE).as_posix() for p in SOURCE.rglob("*.py") if p.name != "__init__.py"}
    assert sorted(found - listed) == [], "not on ARCHITECTURE.md's map"
    assert sorted(listed - found) == [], "on ARCHITECTURE.md's map only"


def test_architecture_has_the_fault_table_and_the_floors_as_they_are() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rows = re.findall(r"^\| (\w+) \| ((?:`\w+`(?:, )?)+) \|$", text, re.MULTILINE)
    written = {kind: level for level, kinds in rows for kind in re.findall(r"`(\w+)`", kinds)}
    assert written == {kind.name: kind.level for kind in TABLE.values()}
    floors = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    drawn = [line[2:].strip() for line in text.splitlines() if re.match(r"\d  \S", line)]
    assert drawn == floors


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", document.read_text()):
        assert re.match(r"(https?|mailto):", target) or (ROOT / target).exists(), target


def test_every_recipe_field_says_what_it_is() -> None:
    """Its description is the help, the docs and the page."""
    modules = {
        "corpus.build",
        "corpus.prescribe",
        "probes._diagnose",
        "train._recipe",
        "cli._quickstart",
        "models.remote",
        "probes._grade",
        "probes._card",
    }
    for module in modules:
        __import__(f"callgrain.{module}")
    recipes = [r for r in Recipe.__subclasses__() if r.__module__.removeprefix("callgrain.") in modules]
    assert len(recipes) == len(modules)
    for recipe in recipes:
        assert [name for name, field in recipe.model_fields.items() if not field.description] == [], recipe

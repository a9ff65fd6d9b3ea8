"""What the verbs do, from Python: the same folders, nouns and refusals as on the command line."""

import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

import callgrain
from callgrain import build, diagnose, grade, open_model, open_source, read_tools
from callgrain.core.errors import BadInput, CallgrainError, UnknownName
from callgrain.core.types import Call, Message, Prompt, Reply
from callgrain.subtasks.names import Names


def test_everything_offered_is_there_and_nothing_else() -> None:
    assert set(callgrain.__all__) <= set(dir(callgrain))
    for name in callgrain.__all__:
        assert getattr(callgrain, name)
    with pytest.raises(AttributeError, match="no attribute 'diagnoze'"):
        callgrain.diagnoze  # noqa: B018 - the look-up is what is tested


def test_import_is_cheap_and_loads_no_third_party() -> None:
    """CPU seconds of `import callgrain` in a fresh interpreter; the promise is 0.5."""
    code = (
        "import sys, time; before = time.process_time(); import callgrain; "
        "print(time.process_time() - before, *sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    seconds, *modules = done.stdout.split()
    assert float(seconds) < 0.5
    assert not {"torch", "transformers", "pydantic", "numpy", "typer"} & set(modules)


def test_tools_sources_and_models_open_by_their_specs() -> None:
    assert [tool.name for tool in read_tools("calculator")] == ["add", "subtract", "multiply", "divide"]
    source = open_source("toolworld:micro", "unseen_tool")
    first = list(itertools.islice(source, 3))
    assert first == list(itertools.islice(source.traces(), 3))
    assert {trace.origin.split for trace in first} == {"unseen_tool"}
    assert next(source.traces("train")).origin.split == "train"
    assert "train" in source.splits
    assert open_source("toolworld:micro").split == "test"
    assert open_model("scripted:wrong_value=0.3").name == "scripted:wrong_value=0.3"
    with pytest.raises(UnknownName, match="toolworld"):
        open_source("toolword")
    with pytest.raises(UnknownName, match="unseen_tool"):
        open_source("toolworld:micro", "unseen_tools")


def test_build_writes_rows_and_finds_its_folder_again(tmp_path: Path) -> None:
    folder = build("toolworld:micro", tmp_path, n=12, subtask="names,nest")
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().split("\n") if line]
    assert [row["subtask"] for row in rows].count("nest") == 6
    assert build("toolworld:micro", tmp_path, n=12, subtask="names,nest") == folder
    with pytest.raises(UnknownName, match="did you mean 'subtask'"):
        build("toolworld:micro", tmp_path, subtasks="names")


def test_diagnose_by_spec_gives_readings_and_resumes_in_one_process(tmp_path: Path) -> None:
    settings = {"n": 8, "subtask": "names,slots"}
    first = diagnose("scripted:names=1", "toolworld:micro", tmp_path, **settings)
    again = diagnose("scripted:names=1", "toolworld:micro", tmp_path, **settings)
    assert first == again
    scores = {r.by["subtask"]: r.value for r in first if (r.probe, r.name, len(r.by)) == ("subtask", "ok", 1)}
    assert scores == {"names": 0.0, "slots": 1.0}


class FirstTool:
    """A user's own model: any object with `name` and `answer`."""

    name = "first tool"

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        return [Reply(message=Message(calls=(Call(name=p.tools[0].name),) if p.tools else ())) for p in prompts]


def test_diagnose_takes_a_model_of_ones_own(tmp_path: Path) -> None:
    found = diagnose(FirstTool(), "toolworld:micro", tmp_path, n=40, subtask="names", probe="subtask")
    score = next(r for r in found if r.name == "ok" and r.by == {"subtask": "names"})
    assert score.n == 40
    assert score.value is not None
    assert 0 < score.value < 0.6


def test_grade_is_the_sub_tasks_own() -> None:
    trace = next(t for t in open_source("toolworld:micro") if len(t.gold.calls) == 1)
    sample = next(iter(Names().samples(trace, Random(0))))
    assert grade(sample, Reply(message=sample.answer.message)).ok
    verdict = grade(sample, Reply(message=Message(calls=(Call(name="no_such_tool"),))))
    assert verdict.first is not None
    assert verdict.first.kind == "unknown_tool"


def test_a_broken_set_up_is_a_callgrain_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no folder"):
        diagnose("scripted:wrong_value=0.1", f"bfcl:{tmp_path / 'none'}", tmp_path, n=2)
    with pytest.raises(CallgrainError, match="scriptd"):
        diagnose("scriptd:wrong_value=0.1", "toolworld:micro", tmp_path, n=2)


def test_grade_of_a_file_gives_the_verbs_lines(tmp_path: Path) -> None:
    run = diagnose("scripted:wrong_value=1", "toolworld:micro", tmp_path, n=6, subtask="slots", probe="subtask")
    (score,) = [r for r in run if (r.name, len(r.by)) == ("ok", 1)]
    replies = next(tmp_path.glob("diagnose/*/replies.jsonl"))
    rows = grade(replies, out=tmp_path, grader="strict", junit=str(tmp_path / "j.xml"))
    assert [set(row) for row in rows] == [{"id", "strict"}] * 6
    assert sum(row["strict"]["ok"] for row in rows) / 6 == score.value
    assert (tmp_path / "j.xml").is_file()
    with pytest.raises(UnknownName, match="graders"):
        grade(replies, out=tmp_path, graders="strict")
    with pytest.raises(BadInput, match="no --source"):
        grade(tmp_path / "j.xml", out=tmp_path)

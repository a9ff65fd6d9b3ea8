"""Recorded outputs graded without a model: the verb's contract, what it refuses, overlays, audits, JUnit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgrain.core.errors import BadInput, CallgrainError, UnknownName
from callgrain.core.store import Run
from callgrain.core.types import Answer, Fault, Message, Origin, Prompt, Reply, Sample, Tool
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings
from callgrain.probes._gold_audit import _nearby
from callgrain.probes._grade import GradeRecipe, deepen, grade
from callgrain.probes._outputs import lenient
from callgrain.report.compare import compare
from callgrain.report.html import write_page
from callgrain.report.junit import write_junit
from callgrain.sources._open import open_source
from callgrain.subtasks.full import Full


def function(name: str, properties: dict[str, str], required: list[str]) -> dict[str, Any]:
    parameters = {"type": "dict", "properties": {k: {"type": v} for k, v in properties.items()}, "required": required}
    return {"name": name, "description": f"does {name}", "parameters": parameters}


ADD = function("math.add", {"a": "integer", "b": "integer"}, ["a", "b"])
FIND = function("find", {"city": "string", "nights": "integer"}, ["city"])


def question(row: str, *functions: dict[str, Any]) -> dict[str, Any]:
    return {"id": row, "question": [[{"role": "user", "content": f"please {row}"}]], "function": list(functions)}


SIMPLE = [question("simple_python_0", ADD), question("simple_python_1", FIND), question("simple_python_2", ADD)]
KEYS: list[list[dict[str, Any]]] = [
    [{"math.add": {"a": [1], "b": [2]}}],
    [{"find": {"city": ["Graz"], "nights": [2, ""]}}],
    [{"math.add": {"a": [5], "b": [6]}}],
]
NONE = [question("irrelevance_0", ADD), question("irrelevance_1", FIND)]
RIGHT = {
    "simple_python_0": "[math.add(a=1, b=2)]",
    "simple_python_1": '[find(city="Graz", nights=2)]',
    "simple_python_2": "[math.add(a=5, b=6)]",
    "irrelevance_0": "I cannot help with that.",
    "irrelevance_1": "None of these functions fits.",
}


def write(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def outputs(path: Path, **changed: Any) -> Path:
    """A result file: right but for what is `changed`; None leaves a row out."""
    said = {**RIGHT, **changed}
    return write(path, [{"id": row, "result": text} for row, text in said.items() if text is not None])


@pytest.fixture
def source(tmp_path: Path) -> str:
    """A folder in BFCL's layout, of two categories."""
    folder = tmp_path / "bfcl"
    write(folder / "BFCL_v4_simple_python.json", SIMPLE)
    rows = [{"id": q["id"], "ground_truth": key} for q, key in zip(SIMPLE, KEYS, strict=True)]
    write(folder / "possible_answer" / "BFCL_v4_simple_python.json", rows)
    write(folder / "BFCL_v4_irrelevance.json", NONE)
    return f"bfcl:{folder}"


def run_of(file: Path | list[Path], source: str, out: Path, **more: Any) -> Run:
    return grade(GradeRecipe.resolve({"file": file, "source": source, **more}), out)


def items(run: Run) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in run.rows("graders")}


def verb(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    own = {k: v for k, v in os.environ.items() if k != "CALLGRAIN_HOME"} | {"COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "callgrain.cli.main", "grade", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=own, capture_output=True, text=True, timeout=120, check=False)


# the contract --------------------------------------------------------------------------------


def test_json_is_a_line_an_item_in_the_files_order_and_nothing_else(tmp_path: Path, source: str) -> None:
    file = outputs(tmp_path / "o.jsonl", simple_python_1='[find(city="Linz", nights=2)]')
    done = verb(file, "--source", source, "--grader", "strict,bfcl", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.rstrip("\n").split("\n")]
    assert [row["id"] for row in rows] == list(RIGHT)
    assert rows[0] == {
        "id": "simple_python_0", "strict": {"ok": True, "faults": []}, "bfcl": {"ok": True, "error_type": ""}
    }  # fmt: skip
    assert rows[1] == {
        "id": "simple_python_1",
        "strict": {"ok": False, "faults": ["wrong_value"]},
        "bfcl": {"ok": False, "error_type": "value_error:string"},
    }
    folder = next((tmp_path / "runs" / "grade").iterdir())
    assert folder.name.startswith("bfcl-")
    again = verb(file, "--source", source, "--grader", "strict,bfcl", cwd=tmp_path)
    lines = again.stdout.rstrip("\n").split("\n")
    assert Path(tmp_path, lines[-1]) == folder
    assert (folder / "report.html").is_file()
    assert "80.0 %" in again.stdout
    assert "wrong_value" in again.stdout


def test_native_and_python_spelling_say_the_same(tmp_path: Path, source: str) -> None:
    native = write(
        tmp_path / "native.jsonl",
        [
            {"id": "simple_python_0", "result": [{"math_add": '{"a": 1, "b": 2}'}]},
            {"id": "simple_python_1", "result": [{"find": '{"city": "Graz"}'}]},
            {"id": "simple_python_2", "result": [{"math_add": '{"a": 5, "b": "6"}'}]},
        ],
    )
    text = outputs(tmp_path / "text.jsonl", simple_python_2='[math.add(a=5, b="6")]')
    one = items(run_of(native, source, tmp_path, grader="strict,bfcl"))
    other = items(run_of(text, source, tmp_path, grader="strict,bfcl"))
    assert one == {row: other[row] for row in one}
    assert one["simple_python_1"]["strict"]["ok"]
    assert one["simple_python_2"]["bfcl"]["error_type"] == "type_error:simple"


def test_exit_codes(tmp_path: Path, source: str) -> None:
    file = outputs(tmp_path / "o.jsonl", simple_python_0="[math.add(a=1, b=3)]", simple_python_2=None)
    low = verb(file, "--source", source, "--json", "--fail-under", "0.9", cwd=tmp_path)
    assert low.returncode == 1
    assert "3 of 4 right" in low.stderr
    assert len(low.stdout.rstrip("\n").split("\n")) == 4
    assert verb(file, "--source", source, "--json", "--fail-on-error", "0.1", cwd=tmp_path).returncode == 1
    wrong = verb(tmp_path / "none.jsonl", "--source", source, "--json", cwd=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stdout == ""
    assert wrong.stderr.count("callgrain: ") == 1
    assert verb(cwd=tmp_path).returncode == 2


def test_the_folder_is_found_again_by_content(tmp_path: Path, source: str) -> None:
    first = run_of(outputs(tmp_path / "a.jsonl"), source, tmp_path).folder
    assert run_of(outputs(tmp_path / "b.jsonl"), source, tmp_path).folder == first
    assert run_of(outputs(tmp_path / "a.jsonl", irrelevance_0=None), source, tmp_path).folder != first
    key = Path(source.removeprefix("bfcl:")) / "possible_answer" / "BFCL_v4_simple_python.json"
    key.write_text(key.read_text().replace("[5]", "[7]"))
    changed = run_of(outputs(tmp_path / "a.jsonl"), source, tmp_path)
    assert changed.folder != first
    assert not items(changed)["simple_python_2"]["strict"]["ok"]


# what is right without a call ----------------------------------------------------------------


def test_no_call_due(tmp_path: Path, source: str) -> None:
    """Prose is right whether it declines or answers; a question is not; a broken call is none, but BFCL's way out."""
    found = items(run_of(outputs(tmp_path / "o.jsonl"), source, tmp_path, grader="strict,bfcl"))
    assert found["irrelevance_0"]["strict"]["ok"]
    assert found["irrelevance_0"]["bfcl"]["ok"]
    file = outputs(tmp_path / "p.jsonl", irrelevance_0="[math.add(a=1, b=", irrelevance_1="Which city do you mean?")
    found = items(run_of(file, source, tmp_path, grader="strict,bfcl"))
    assert found["irrelevance_0"]["strict"] == {"ok": False, "faults": ["unparsable"]}
    assert found["irrelevance_0"]["bfcl"]["ok"]
    assert found["irrelevance_1"]["strict"]["faults"] == ["needless_question"]
    called = outputs(tmp_path / "q.jsonl", irrelevance_0="[math.add(a=1, b=1)]")
    found = items(run_of(called, source, tmp_path, grader="strict,bfcl"))
    assert found["irrelevance_0"]["strict"]["faults"] == ["needless_call"]
    assert found["irrelevance_0"]["bfcl"]["error_type"] == "irrelevance_error:decoder_success"


def test_grader_differences_are_listed_with_both_reasons(tmp_path: Path, source: str) -> None:
    file = outputs(tmp_path / "p.jsonl", irrelevance_0="[math.add(a=1, b=")
    run = run_of(file, source, tmp_path, grader="strict,bfcl")
    (row,) = run.rows("disagreements")
    assert row["id"] == "irrelevance_0"
    assert row["graders"]["bfcl"] == {"ok": True, "why": "right"}
    assert row["graders"]["strict"]["why"].startswith("unparsable at calls")
    (agreement,) = [r for r in readings(run) if r.name == "agreement"]
    assert (agreement.value, agreement.n) == (0.8, 5)


def test_a_question_that_is_due_must_be_one() -> None:
    origin = Origin(dataset="x", row="1", licence="none")
    tool = Tool(name="f")
    prompt = Prompt(messages=(Message(role="user", text="book"),), tools=(tool,))

    def ok(decision: str, text: str) -> bool:
        answer = Answer.model_validate({"decision": decision})
        sample = lenient(Sample(subtask="full", prompt=prompt, answer=answer, origin=origin))
        return Full().grade(sample, Reply(message=Message(text=text))).ok

    assert ok("ask", "For which day?")
    assert not ok("ask", "I cannot do that.")
    assert ok("answer", "It is 4.")
    assert ok("answer", "DECLINE")
    assert ok("decline", "It is 4.")
    assert not ok("decline", "ASK for which day")
    assert not ok("call", "It is 4.")


def test_decide_keeps_the_tools_that_the_model_saw(tmp_path: Path, source: str) -> None:
    folder = Path(source.removeprefix("bfcl:"))
    rows = [question(f"simple_python_{i}", ADD, FIND) for i in range(12)]
    write(folder / "BFCL_v4_simple_python.json", rows)
    keys = [{"id": row["id"], "ground_truth": KEYS[0]} for row in rows]
    write(folder / "possible_answer" / "BFCL_v4_simple_python.json", keys)
    file = write(tmp_path / "o.jsonl", [{"id": row["id"], "result": "[math.add(a=1, b=2)]"} for row in rows])
    found = items(run_of(file, source, tmp_path, subtask="decide"))
    assert len(found) == 12
    assert all(row["strict"]["ok"] for row in found.values())


# ids -----------------------------------------------------------------------------------------


def test_missing_and_unknown_items_are_counted_and_named(tmp_path: Path, source: str) -> None:
    file = outputs(tmp_path / "o.jsonl", simple_python_1=None, nobody_7="[f(a=1)]")
    done = run_of(file, source, tmp_path).read("done")
    assert (done["items"], done["missing_first"], done["unknown_first"]) == (4, ["simple_python_1"], ["nobody_7"])
    assert done["right"] == done["graded"] == 4
    wrong = run_of(file, source, tmp_path, missing_is_wrong=True, grader="strict,bfcl")
    assert items(wrong)["simple_python_1"]["strict"] == {"ok": False, "faults": ["unparsable"]}
    assert not items(wrong)["simple_python_1"]["bfcl"]["ok"]
    assert (wrong.read("done")["graded"], wrong.read("done")["right"]) == (5, 4)


def test_a_file_of_one_category_misses_nothing_of_another(tmp_path: Path, source: str) -> None:
    file = outputs(tmp_path / "o.jsonl", irrelevance_0=None, irrelevance_1=None)
    assert run_of(file, source, tmp_path).read("done")["missing"] == 0


def test_no_id_in_common_says_what_ids_look_like(tmp_path: Path, source: str) -> None:
    file = write(tmp_path / "o.jsonl", [{"id": "simple_0", "result": "[f(a=1)]"}])
    with pytest.raises(BadInput, match=r"'simple_0'") as caught:
        run_of(file, source, tmp_path)
    assert "simple_python_0" in caught.value.remedy


def test_one_item_twice(tmp_path: Path, source: str) -> None:
    row = {"id": "simple_python_0", "result": "[math.add(a=1, b=2)]"}
    run = run_of(write(tmp_path / "same.jsonl", [row, row]), source, tmp_path)
    assert (run.read("done")["items"], run.read("done")["repeated"]) == (1, 1)
    other = {**row, "result": "[math.add(a=1, b=9)]"}
    with pytest.raises(BadInput, match=r"lines 1 and 3 .*simple_python_0"):
        run_of(write(tmp_path / "two.jsonl", [row, "", other]), source, tmp_path)


def test_without_ids_the_place_counts(tmp_path: Path, source: str) -> None:
    order = [trace.origin.row for trace in open_source(source)[0].traces("test")]
    file = write(tmp_path / "o.jsonl", [{"result": RIGHT[row]} for row in order])
    run = run_of(file, source, tmp_path)
    assert run.read("done")["by_place"]
    assert {row: found["strict"]["ok"] for row, found in items(run).items()} == dict.fromkeys(RIGHT, True)
    said = verb(file, "--source", source, "--json", cwd=tmp_path)
    assert "matched by their place" in said.stderr


def test_a_rows_own_sub_task_wins(tmp_path: Path, source: str) -> None:
    rows = [
        {"id": "simple_python_0", "subtask": "names", "calls": [{"name": "math.add", "arguments": {}}]},
        {"id": "simple_python_0", "calls": [{"name": "math.add", "arguments": {}}]},
        {"id": "simple_python_1", "subtask": "nomes", "calls": []},
    ]
    run = run_of(write(tmp_path / "o.jsonl", rows), source, tmp_path)
    assert [row["subtask"] for row in run.rows("verdicts")] == ["names", "full"]
    assert [row["ok"] for row in run.rows("verdicts")] == [True, False]
    assert "there is no sub-task 'nomes'" in run.read("done")["set_aside_first"][0]


def test_hostile_lines_are_set_aside_by_place(tmp_path: Path, source: str) -> None:
    rows = ["{", "[1]", '{"id": "simple_python_0", "x": 1}', json.dumps({"id": "a\u202e\x1b[31m", "result": "x"})]
    deep = json.dumps({"id": "simple_python_1", "result": "[" * 3000 + "]" * 3000})
    file = write(tmp_path / "o.jsonl", [*rows, deep, {"id": "simple_python_2", "result": RIGHT["simple_python_2"]}])
    run = run_of(file, source, tmp_path, grader="strict,bfcl")
    done = run.read("done")
    assert (done["set_aside"], done["items"], done["unknown"]) == (3, 2, 1)
    assert f"{file}:1:" in done["set_aside_first"][0]
    assert not items(run)["simple_python_1"]["strict"]["ok"]
    shown = verb(file, "--source", source, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "\x1b[31m" not in shown.stdout
    with pytest.raises(BadInput, match=":1:"):
        run_of(file, source, tmp_path, strict=True)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"grader": "stirct"}, UnknownName),
        ({"subtask": "fool"}, UnknownName),
        ({"kind": "bfc"}, UnknownName),
        ({"dialect": "jason"}, UnknownName),
        ({"source": ""}, BadInput),
        ({"source": "toolworld:micro"}, BadInput),
        ({"source": "", "gold_audit": True}, BadInput),
        ({"overlay": "none.jsonl"}, BadInput),
        ({"file": []}, BadInput),
        ({"fail_under": 2}, BadInput),
    ],
)
def test_what_the_user_can_mend(tmp_path: Path, source: str, more: dict[str, Any], error: type[CallgrainError]) -> None:
    file = outputs(tmp_path / "o.jsonl")
    with pytest.raises(error):
        grade(GradeRecipe.resolve({"file": file, "source": source, **more}), tmp_path)


def test_plain_text_in_a_dialect(tmp_path: Path, source: str) -> None:
    calls = [{"name": "math.add", "arguments": {"a": 1, "b": 2}}]
    file = write(tmp_path / "o.jsonl", [{"id": "simple_python_0", "text": json.dumps(calls)}])
    assert items(run_of(file, source, tmp_path, dialect="json"))["simple_python_0"]["strict"]["ok"]


# runs ----------------------------------------------------------------------------------------


def test_report_and_compare_work_on_graded_runs(tmp_path: Path, source: str) -> None:
    good = run_of(outputs(tmp_path / "a.jsonl"), source, tmp_path)
    bad = run_of(outputs(tmp_path / "b.jsonl", simple_python_0="[math.add(a=1, b=9)]"), source, tmp_path)
    page = write_page(bad, tmp_path / "page.html").read_text()
    assert "80.0" in page
    assert "math.add" in page
    assert f"callgrain grade {tmp_path / 'b.jsonl'} --source {source}" in page
    found = {(r.name, r.by.get("subtask")): r for r in compare(bad, good)}
    assert found["paired", None].n == 5
    assert found["ok_difference", "full"].value == pytest.approx(0.2)
    more = deepen(bad)
    assert {"grade", "form", "subtask", "fault", "weakness", "grader", "count"} == {r.probe for r in more}
    assert deepen(bad) == more == readings(bad)


def test_a_diagnosis_is_graded_again_without_its_source(tmp_path: Path) -> None:
    recipe = DiagnoseRecipe(model="scripted:wrong_value=0.5", source="toolworld:full", subtask="full,names", n=24)
    asked = diagnose(recipe, tmp_path)
    run = run_of(asked.folder, "", tmp_path, grader="strict,nestful_fixed")
    before = {row["key"]: row["verdict"] for row in asked.rows("verdicts")}
    assert {row["key"]: row["verdict"] for row in run.rows("verdicts")} == before
    assert set(items(run)) == set(before)
    names = next(row for row in run.rows("verdicts") if row["subtask"] == "names")
    assert items(run)[names["key"]]["nestful_fixed"]["state"] == "not_applicable"
    assert {r.name: r.n for r in compare(asked, run)}["paired"] == len(before)
    theirs = [r for r in readings(asked) if r.probe == "control"]
    assert [r for r in deepen(run) if r.probe == "control"] == theirs
    assert theirs


def test_failures_are_left_out_and_counted(tmp_path: Path, source: str) -> None:
    file = outputs(tmp_path / "o.jsonl", simple_python_0="Error during inference: no quota")
    done = run_of(file, source, tmp_path).read("done")
    assert (done["failures"], done["graded"], done["without"]) == (1, 4, 0.2)


def test_files_side_by_side(tmp_path: Path, source: str) -> None:
    files = [outputs(tmp_path / "a.jsonl"), outputs(tmp_path / "b.jsonl", simple_python_0="[math.add(a=0, b=2)]")]
    run = run_of(files, source, tmp_path, grader="strict,bfcl")
    shares = {
        r.by["file"]: r.value for r in readings(run) if set(r.by) == {"file", "grader"} and r.by["grader"] == "bfcl"
    }
    assert shares == {"a.jsonl": 1.0, "b.jsonl": 0.8}
    assert len(list(run.rows("graders"))) == 10
    parts = [Run.find(Path(part["run"])) for part in run.read("done")["parts"]]
    assert [part.folder for part in parts] == [run_of(f, source, tmp_path, grader="strict,bfcl").folder for f in files]
    assert verb(*files, "--source", source, "--fail-under", "0.9", cwd=tmp_path).returncode == 1


# golds ---------------------------------------------------------------------------------------


def plant(source: str, row: str, truth: Any) -> None:
    """Another gold for a row of the folder."""
    path = Path(source.removeprefix("bfcl:")) / "possible_answer" / "BFCL_v4_simple_python.json"
    rows = [json.loads(line) for line in path.read_text().split("\n") if line]
    write(path, [{**r, "ground_truth": truth} if r["id"] == row else r for r in rows])


def test_the_audit_finds_planted_golds_and_no_others(tmp_path: Path, source: str) -> None:
    plant(source, "simple_python_0", [{"math.add": {"a": ["1"], "b": [2]}}])
    plant(source, "simple_python_2", [{"math.add": {"a": [5], "b": [7]}}])
    files = [outputs(tmp_path / f"{name}.jsonl") for name in "ab"]
    third = outputs(tmp_path / "c.jsonl", simple_python_2="[math.add(a=6, b=6)]", simple_python_1="[find(city=3)]")
    run = run_of([*files, third], source, tmp_path, gold_audit=True)
    found = {(row["row"], row["check"]): row for row in run.rows("gold_audit")}
    assert set(found) >= {("simple_python_0", "schema"), ("simple_python_2", "agreement")}
    assert {row for row, _ in found} == {"simple_python_0", "simple_python_2"}
    assert found["simple_python_0", "schema"]["answer"]["calls"][0]["arguments"] == {"a": 1, "b": 2}
    agreement = found["simple_python_2", "agreement"]
    assert agreement["evidence"] | {"calls": 0} == {
        "share": 0.6667, "agree": 2, "n": 3, "files": ["a.jsonl", "b.jsonl"], "calls": 0
    }  # fmt: skip
    assert agreement["answer"]["calls"][0]["arguments"] == {"a": 5, "b": 6}
    golds = {t.origin.row: t.gold.key for t in open_source(source)[0].traces("test")}
    assert all(row["was"] == golds[row["row"]] for row in found.values())


def test_a_sound_source_passes_the_audit(tmp_path: Path, source: str) -> None:
    run = run_of(outputs(tmp_path / "o.jsonl"), source, tmp_path, gold_audit=True, grader="strict,bfcl")
    assert list(run.rows("gold_audit")) == []


def test_a_checker_that_refuses_its_own_key_is_a_finding(tmp_path: Path, source: str) -> None:
    plant(source, "simple_python_0", [{"math.add": {"a": [1]}}])
    run = run_of(outputs(tmp_path / "o.jsonl"), source, tmp_path, gold_audit=True)
    schema, grader = run.rows("gold_audit")
    assert schema["reason"].endswith("missing_argument at calls.0.arguments.b")
    assert schema["answer"] is None
    assert grader["evidence"] == {
        "grader": "bfcl", "state": "graded", "faults": ["missing_argument"],
        "detail": "simple_function_checker:missing_required",
    }  # fmt: skip


def test_a_null_that_the_schema_declares_is_no_finding(tmp_path: Path, source: str) -> None:
    folder = Path(source.removeprefix("bfcl:"))
    where = function("where", {"city": "string"}, [])
    where["parameters"]["properties"]["city"]["default"] = None
    write(folder / "BFCL_v4_simple_python.json", [question("simple_python_0", where)])
    key = [{"id": "simple_python_0", "ground_truth": [{"where": {"city": [None]}}]}]
    write(folder / "possible_answer" / "BFCL_v4_simple_python.json", key)
    run = run_of(outputs(tmp_path / "o.jsonl"), source, tmp_path, gold_audit=True)
    assert not [row for row in run.rows("gold_audit") if row["check"] == "schema"]


def overlay(path: Path, source: str, *lines: dict[str, Any]) -> Path:
    return write(path, [{"overlay": "fixes", "version": 3, "source": source}, *lines])


def test_an_audit_line_with_a_name_is_an_overlay_line(tmp_path: Path, source: str) -> None:
    plant(source, "simple_python_2", [{"math.add": {"a": [5], "b": [7]}}])
    files = [outputs(tmp_path / f"{name}.jsonl") for name in "ab"]
    (line,) = run_of(files, source, tmp_path, gold_audit=True).rows("gold_audit")
    nameless = overlay(tmp_path / "nameless.jsonl", source, line)
    with pytest.raises(BadInput, match=r"nameless.jsonl:2: .*by"):
        run_of(files[0], source, tmp_path, overlay=str(nameless))
    fixes = overlay(tmp_path / "fixes.jsonl", source, {**line, "by": "reviewer"})
    run = run_of(files[0], source, tmp_path, overlay=str(fixes), grader="strict,bfcl")
    assert items(run)["simple_python_2"] == {
        "id": "simple_python_2", "strict": {"ok": True, "faults": []}, "bfcl": {"ok": True, "error_type": ""}
    }  # fmt: skip
    shares = {(r.by["grader"], r.by["overlay"]): r.value for r in readings(run) if set(r.by) == {"grader", "overlay"}}
    assert shares == {(g, o): v for g in ("strict", "bfcl") for o, v in (("none", 0.8), ("fixes@3", 1.0))}
    assert (run.read("done")["corrected"], run.read("done")["refused"]) == (1, {})
    for some in (files, files[:1]):
        settled = run_of(some, source, tmp_path, overlay=str(fixes), gold_audit=True)
        assert list(settled.rows("gold_audit")) == []
    said = verb(files[0], "--source", source, "--overlay", fixes, cwd=tmp_path).stdout
    assert "1 golds corrected and 0 dropped by fixes@3" in said


def test_dropped_and_stale_corrections(tmp_path: Path, source: str) -> None:
    golds = {t.origin.row: t.gold.key for t in open_source(source)[0].traces("test")}
    why = {"reason": "no right answer", "by": "reviewer"}
    broken = {"calls": [{"name": "sub", "arguments": {}}]}
    lines = [
        {"row": "simple_python_0", "was": golds["simple_python_0"], "drop": True, **why},
        {"row": "simple_python_1", "was": "0" * 16, "drop": True, **why},
        {"row": "simple_python_2", "was": golds["simple_python_2"], "answer": broken, **why},
        {"row": "nobody", "was": "0" * 16, "drop": True, **why},
    ]
    file, fixes = outputs(tmp_path / "o.jsonl"), overlay(tmp_path / "fixes.jsonl", source, *lines)
    run = run_of(file, source, tmp_path, overlay=str(fixes))
    done = run.read("done")
    assert (done["dropped"], done["corrected"], done["items"]) == (1, 0, 4)
    assert set(done["refused"]) == {"simple_python_1", "simple_python_2", "nobody"}
    assert "simple_python_0" not in items(run)
    counts = {r.by["overlay"]: r.n for r in readings(run) if set(r.by) == {"grader", "overlay"}}
    assert counts == {"none": 5, "fixes@3": 4}
    strict = verb(file, "--source", source, "--overlay", fixes, "--strict", "--json", cwd=tmp_path)
    assert strict.returncode == 2
    assert "3 corrections of fixes@3" in strict.stderr


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [{"version": 1}],
        [{"overlay": "x", "version": 1, "source": "sgd:x"}],
        [{"overlay": "x", "version": 1}, {"row": "a", "was": "b", "reason": "r", "by": "me"}],
        [{"overlay": "x", "version": 1}, *[{"row": "a", "was": "b", "drop": True, "reason": "r", "by": "me"}] * 2],
        [{"overlay": "x", "version": 1}, {"row": "a", "was": "b", "answer": {"cals": []}, "reason": "r", "by": "me"}],
        [{"overlay": "x", "version": 1}, "not json"],
    ],
)
def test_an_overlay_that_is_none(tmp_path: Path, source: str, lines: list[Any]) -> None:
    fixes = write(tmp_path / "fixes.jsonl", lines)
    with pytest.raises(BadInput, match=r"fixes\.jsonl"):
        run_of(outputs(tmp_path / "o.jsonl"), source, tmp_path, overlay=str(fixes))


@given(st.text() | st.integers() | st.floats() | st.booleans() | st.none() | st.lists(st.integers()))
def test_proposals_are_json(value: Any) -> None:
    for near in _nearby(value, {"enum": ["a", 1, None]}):
        if value == value:  # noqa: PLR0124 - NaN is no JSON to begin with
            json.dumps(near, allow_nan=value in (float("inf"), float("-inf")))


# JUnit ---------------------------------------------------------------------------------------


def test_junit_has_a_case_an_item(tmp_path: Path, source: str) -> None:
    file = outputs(
        tmp_path / "o.jsonl", simple_python_0="[math.add(a=1, b=9)]", irrelevance_0="Error during inference: x"
    )
    done = verb(file, "--source", source, "--json", "--junit", tmp_path / "deep" / "j.xml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    root = ET.parse(tmp_path / "deep" / "j.xml").getroot()
    assert root.attrib == {"name": "callgrain", "tests": "5", "failures": "1", "errors": "0", "skipped": "1"}
    assert [suite.get("name") for suite in root] == ["full/simple_python", "full/irrelevance"]
    (failure,) = root.iter("failure")
    assert failure.get("message") == "wrong_value"
    assert failure.text == "wrong_value at calls.0.arguments.b: expected 2, given 9"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200), st.text(alphabet=st.characters(codec=None), max_size=50))
def test_junit_is_well_formed_whatever_stands_in_it(
    tmp_path_factory: pytest.TempPathFactory, text: str, name: str
) -> None:
    folder = tmp_path_factory.mktemp("run")
    run = Run(folder)
    name = name.encode(errors="replace").decode()
    fault = Fault(kind="wrong_value", where=text, expected=text, given=[text]).model_dump(mode="json")
    states = [{"state": "graded", "faults": [fault], "score": 0.0, "detail": text}]
    states += [{"state": state, "score": 0.0, "detail": text} for state in ("not_applicable", "grader_error")]
    rows = [{"key": "k", "id": name, "subtask": text, "verdict": v, "traits": {"category": name}} for v in states]
    run.replace_rows("verdicts", rows)
    run.write("done", {})
    root = ET.parse(write_junit(run, folder / "j.xml")).getroot()
    assert (root.get("tests"), root.get("failures"), root.get("errors"), root.get("skipped")) == ("3", "1", "1", "1")


# public data ---------------------------------------------------------------------------------


def test_golds_of_bfcl_are_right_by_both_graders(tmp_path: Path, shared_data: Path) -> None:
    source = f"bfcl:{shared_data / 'bfcl_v4'}"
    rows: list[Any] = []
    for trace in open_source(source)[0].traces("test"):
        calls = [{"name": c.name, "arguments": c.arguments} for c in trace.gold.calls]
        rows.append({"id": trace.origin.row, "calls": calls, "text": "" if calls else "No function fits."})
    run = run_of(write(tmp_path / "o.jsonl", rows), source, tmp_path, grader="strict,bfcl")
    done = run.read("done")
    assert done["items"] == done["right"] == len(rows) > 1000
    assert all(row["bfcl"]["ok"] for row in run.rows("graders"))
    assert not list(run.rows("disagreements"))


def test_json_loads_nothing_heavy(tmp_path: Path, source: str) -> None:
    file = outputs(tmp_path / "o.jsonl")
    code = (
        "import sys; from callgrain.cli.main import main\n"
        f"sys.argv = ['callgrain', 'grade', {str(file)!r}, '--source', {source!r}, '--json']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(*sorted({m.partition('.')[0] for m in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert len(done.stdout.rstrip("\n").split("\n")) == len(RIGHT)
    heavy = {"torch", "transformers", "scipy", "numpy", "rich", "jinja2", "httpx2"}
    assert not heavy & set(done.stderr.rstrip("\n").split("\n")[-1].split())

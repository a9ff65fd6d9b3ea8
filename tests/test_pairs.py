"""Preference pairs: both turns judged anew from the trace, faults as asked for, resuming, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from typer.testing import CliRunner

from callgrain.cli.main import app_for
from callgrain.core import plugins
from callgrain.core.canonical import text_key
from callgrain.core.errors import BadInput, UnknownName
from callgrain.core.store import Run
from callgrain.core.types import Answer, Call, Fault, Message, Origin, Prompt, Reply, Sample, Tool
from callgrain.corpus import pairs as pairs_module
from callgrain.corpus.pairs import CHOSEN, PairsRecipe, as_pair, fault_weights, made, pairs
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose
from callgrain.sources._open import open_source
from callgrain.verify.faults import KINDS, TABLE


def rows(run: Run) -> list[dict[str, Any]]:
    return list(run.rows("pairs"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return pairs(PairsRecipe(source="toolworld:full", n=360), tmp_path_factory.mktemp("pairs"))


def test_both_turns_hold_against_the_answer_of_the_trace_itself(whole: Run) -> None:
    source, _ = open_source("toolworld:full", split="train")
    assert len(rows(whole)) == 360
    for row in rows(whole):
        pair, task = as_pair(row), plugins.load("subtasks", row["subtask"])()
        trace = source.trace("train", row["at"])  # type: ignore[attr-defined]
        cut = task.samples(trace, Random(text_key("0", row["subtask"], trace.key)))
        sample = next(s for s in cut if s.prompt == pair.prompt)
        assert task.grade(sample, Reply(message=pair.chosen)).ok
        form = TABLE[pair.fault.kind].level == "form"
        given = Reply(text=pair.rejected.text, fault=pair.fault) if form else Reply(message=pair.rejected)
        assert task.grade(sample, given).first == pair.fault
        assert pair.rejected != pair.chosen
        assert row.get("rejected_text") == (pair.rejected.text if form else None)
        assert row["key"] == pair.key


def test_every_subtask_has_its_share_and_every_fault_its_place(whole: Run) -> None:
    done = whole.read("done")
    assert set(done["by_subtask"].values()) == {40}
    assert done["by_subtask"].keys() == set(plugins.names("subtasks"))
    assert done["by_fault"] == dict(
        sorted(Counter(r["fault"]["kind"] for r in rows(whole)).items(), key=lambda kv: KINDS.index(kv[0]))
    )
    assert len(done["by_fault"]) >= 20, "the source and its sub-tasks can make nearly all of the table"
    assert done["pairs"] == 360
    assert done["short"] == 0


def test_faults_come_by_their_weights_and_no_others(tmp_path: Path) -> None:
    recipe = PairsRecipe(source="toolworld:micro", subtask="slots", faults="wrong_value=3,unknown_argument=1", n=600)
    by_fault = pairs(recipe, tmp_path).read("done")["by_fault"]
    assert by_fault.keys() == {"wrong_value", "unknown_argument"}
    assert by_fault["wrong_value"] == pytest.approx(450, abs=45)  # 4 standard deviations of B(600, 3/4)


def test_faults_come_as_often_as_a_diagnosed_model_makes_them(tmp_path: Path) -> None:
    model = "scripted:names.wrong_tool=0.6,names.missing_call=0.0,parallel.extra_call=0.5,slots.wrong_value=0.4"
    asked = DiagnoseRecipe(model=model, source="toolworld:micro", subtask="names,parallel,slots", n=40)
    folder = str(diagnose(asked, tmp_path).folder)
    recipe = PairsRecipe(source="toolworld:micro", subtask="names,parallel,slots", like=folder, n=90)
    run = pairs(recipe, tmp_path)
    found = {(r["subtask"], r["fault"]["kind"]) for r in rows(run)}
    assert found == {("names", "wrong_tool"), ("parallel", "extra_call"), ("slots", "wrong_value")}
    flawless = diagnose(DiagnoseRecipe(model="scripted:", source="toolworld:micro", subtask="names", n=5), tmp_path)
    with pytest.raises(BadInput, match="none of the faults"):
        pairs(recipe.model_copy(update={"like": str(flawless.folder)}), tmp_path)


@pytest.mark.parametrize("source", ["toolworld:micro", "gsm8k"])
def test_a_run_that_was_cut_short_goes_on(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if source == "gsm8k":  # a source that ends and is read from its beginning, several pairs a trace
        source = f"gsm8k:{request.getfixturevalue('shared_data') / 'gsm8k'}"
        recipe = PairsRecipe(source=source, subtask="nest,names,slots", n=60)
    else:
        recipe = PairsRecipe(source=source, n=120)
    monkeypatch.setattr(pairs_module, "BATCH", 8)
    first = pairs(recipe, tmp_path / "whole")
    part = pairs(recipe, tmp_path / "part")
    lines = (part.folder / "pairs.jsonl").read_bytes().split(b"\n")
    for kept in (11, 40):
        (part.folder / "pairs.jsonl").write_bytes(b"\n".join(lines[:kept]) + b"\n" + lines[kept][:40])
        (part.folder / "done.json").unlink()
        again = pairs(recipe, tmp_path / "part")
        assert (again.folder / "pairs.jsonl").read_bytes() == (first.folder / "pairs.jsonl").read_bytes()
        ends = ({k: v for k, v in r.read("done").items() if k != "finished"} for r in (again, first))
        assert next(ends) == next(ends)


def sample(subtask: str, answer: Answer) -> Sample:
    one = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    prompt = Prompt(messages=(Message(role="user", text="weather in Bonn"),), tools=(Tool(name="get", parameters=one),))
    origin = Origin(dataset="test", row="1", licence="Apache-2.0")
    return Sample(subtask=subtask, prompt=prompt, answer=answer, origin=origin)


def test_what_the_verifier_refuses_is_counted_and_left_out() -> None:
    refused: Counter[str] = Counter()
    good = Answer(calls=(Call(name="get", arguments={"city": "Bonn"}),))
    assert made(sample("names", good), {"wrong_value": 1.0}, 0, refused) is None  # values are nothing to `names`
    assert refused == {"wrong_value": 1}
    assert made(sample("slots", good), {"wrong_value": 1.0}, 0, refused) is not None
    assert made(sample("slots", good), {"wrong_order": 1.0}, 0, refused) is None  # cannot be made: nothing to refuse
    assert refused == {"wrong_value": 1}
    wrong = Answer(decision="ask", text="Done.")  # an answer that says what it should ask
    assert made(sample("decide", wrong), {"needless_call": 1.0}, 0, refused) is None
    assert refused == {"wrong_value": 1, CHOSEN: 1}


def test_what_is_refused_outlives_a_kill(tmp_path: Path) -> None:
    """What was refused stands in the row that follows, and is counted once."""
    lines = [
        {"subtask": "names", "at": 3, "fault": {"kind": "wrong_tool"}, "refused": {"extra_call": 2}},
        {"subtask": "names", "at": 4, "fault": {"kind": "wrong_tool"}},
    ]
    done = pairs_module._Done.of(lines)
    assert done.refused_in_all == {"extra_call": 2}
    done.refused["extra_call"] += 1
    assert done.add({"subtask": "nest", "at": 5, "fault": {"kind": "wrong_tool"}})["refused"] == {"extra_call": 1}
    assert "refused" not in done.add({"subtask": "nest", "at": 6, "fault": {"kind": "wrong_tool"}})
    assert done.refused_in_all == {"extra_call": 3}
    assert done.by_subtask == {"names": 2, "nest": 2}


def test_what_cannot_be_made_says_so(tmp_path: Path, shared_data: Path) -> None:
    assert fault_weights("wrong_value=2, wrong_tool") == {"wrong_value": 2.0, "wrong_tool": 1.0}
    for bad in ("wrong_value=x", "wrong_value=-1", "wrong_value=0", "wrong_value=inf"):
        with pytest.raises(BadInput):
            fault_weights(bad)
    with pytest.raises(UnknownName, match="did you mean 'wrong_value'"):
        fault_weights("wrong_vlaue")
    with pytest.raises(BadInput, match="names finds none of the faults"):
        pairs(PairsRecipe(source="toolworld:micro", subtask="names,slots", faults="wrong_value"), tmp_path)
    with pytest.raises(BadInput, match="is a benchmark"):
        pairs(PairsRecipe(source=f"bfcl:{shared_data / 'bfcl_v4'}", split=""), tmp_path)


def test_the_verb(tmp_path: Path) -> None:
    flags = ["pairs", "toolworld:micro", "--subtask", "slots", "--faults", "wrong_value", "--n", "12"]
    flags += ["--out", str(tmp_path), "--quiet"]
    shown = CliRunner().invoke(app_for("pairs"), flags)
    assert shown.exit_code == 0, shown.output
    assert "wrong_value" in shown.output
    as_json = json.loads(CliRunner().invoke(app_for("pairs"), [*flags, "--json"]).output)
    assert as_json["by_fault"] == {"wrong_value": 12}
    row = next(iter(rows(Run.find(Path(as_json["run"])))))
    assert isinstance(Fault.model_validate(row["fault"]), Fault)

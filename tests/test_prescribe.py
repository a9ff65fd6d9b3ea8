"""Tests of the prescription: from readings to remedies, of every kind, and of what is not prescribed."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from benchmarks import _prescription_training as training
from benchmarks import _prescription_wrappers as wrappers
from typer.testing import CliRunner

from callgrain.cli.main import app_for
from callgrain.core.errors import BadInput
from callgrain.core.stats import share
from callgrain.core.store import Run
from callgrain.core.types import Reading
from callgrain.corpus.prescribe import PrescribeRecipe, prescribe
from callgrain.panels.prescription import Prescription
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose
from callgrain.report.html import write_page

KINDS = {
    "constrain", "schemas", "retrieval", "fewer_arguments", "fewer_calls", "history", "escalation", "voting", "repeats",
}  # fmt: skip


def reading(probe: str, name: str, figure: tuple[float | None, ...], n: int = 100, **by: Any) -> Reading:
    value, low, high = figure
    return Reading(probe=probe, name=name, value=value, low=low, high=high, n=n, by=by)


def scored(**right: int) -> list[Reading]:
    return [reading("subtask", "ok", share(hits, 100), subtask=name) for name, hits in right.items()]


def diagnosis(folder: Path, found: list[Reading], model: str = "tiny", can_constrain: bool = False) -> Run:
    run = Run(folder)
    run.write("recipe", {"model": model, "source": "toolworld:open", "seed": 0})
    run.write("pool", {"tier": "text", "can_constrain": can_constrain})
    run.replace_rows("readings", (json.loads(r.model_dump_json()) for r in found))
    run.write("done", {})
    return run


def prescribed(tmp_path: Path, found: list[Reading], model: str = "tiny", **more: Any) -> tuple[Run, dict[str, Any]]:
    asked = diagnosis(tmp_path / "asked", found, model, more.pop("can_constrain", False))
    run = prescribe(PrescribeRecipe(run=str(asked.folder), **more), tmp_path)
    return run, run.read("prescription")


def remedy(told: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(r for r in told["remedies"] if r["kind"] == kind)


def passed(told: dict[str, Any], kind: str) -> str:
    return next(p["reason"] for p in told["looked_at"] if p["kind"] == kind)


SMALL, LARGE = (0.01, -0.04, 0.06), (0.2, 0.1, 0.3)
WEAK = scored(nest=40, slots=60, names=99)


# rows -----------------------------------------------------------------------------------------


def test_weak_subtasks_get_rows_by_what_they_lack_and_can_build_on_and_the_others_a_replay(tmp_path: Path) -> None:
    run, told = prescribed(tmp_path, scored(nest=40, slots=80, names=99, full=97))
    assert told["mixture"] == pytest.approx(
        {"nest": 0.75 * 0.30 / 0.48, "slots": 0.75 * 0.18 / 0.48, "names": 0.125, "full": 0.125}
    )
    assert sum(told["mixture"].values()) == pytest.approx(1)
    recipe = tomllib.loads((run.folder / "recipe.toml").read_text())
    assert (recipe["model"], recipe["method"], recipe["build"]) == ("tiny", "sft", told["build"])
    assert [r["subtask"] for r in told["reasons"]] == ["nest", "slots", "names", "full"]
    mixture = remedy(told, "mixture")
    assert mixture["setting"]["nest"] == pytest.approx(0.46875, abs=1e-4)
    assert mixture["gain"]["at_most"]
    assert mixture["gain"]["value"] == pytest.approx((0.6 + 0.2) / 4), "all that is wrong, over all sub-tasks"
    low, high = (1 - share(40, 100)[2], 1 - share(40, 100)[1])
    assert mixture["gain"]["low"] < mixture["gain"]["value"] < mixture["gain"]["high"]
    assert mixture["gain"]["low"] > (low + 0) / 4 - 0.01
    assert mixture["gain"]["high"] < (high + 0.4) / 4


def test_what_is_half_known_gets_more_rows_than_what_is_not_known_at_all(tmp_path: Path) -> None:
    run, told = prescribed(tmp_path, scored(names=0, nest=0, decide=45, full=90))
    mixture = told["mixture"]
    assert mixture["decide"] == max(mixture.values())
    assert 0 < mixture["nest"] == mixture["names"] < 1 / 4
    assert told["reasons"][0]["subtask"] == "decide", "the largest share first"
    assert run.read("done")["treated"] == ["names", "nest", "decide", "full"]
    bounded = prescribed(tmp_path / "b", scored(names=0, nest=0, decide=45, full=70), top=2)[1]["mixture"]
    assert (bounded["names"], bounded["nest"]) == pytest.approx((0.125, 0.125)), "outside the bound they are replayed"
    assert bounded["decide"] + bounded["full"] == pytest.approx(0.75)


def test_the_rule_before_it_stays_an_arm_of_the_benchmark() -> None:
    scores = {"nest": 0.0, "chain": 0.2, "names": 0.4, "decide": 0.8, "full": 1.0}
    shares = training.weakest(scores)
    assert shares == pytest.approx({"nest": 0.3125, "chain": 0.25, "names": 0.1875, "decide": 0.125, "full": 0.125})
    assert training.opposite(scores)["full"] == pytest.approx(0.75 / 2.2)
    assert training.replayed({"nest": 1.0, "full": 3.0}, ("nest", "full")) == {"nest": 0.25, "full": 0.75}


def test_the_ladder_bounds_what_rows_can_gain(tmp_path: Path) -> None:
    lost = [reading("ladder", "lost", (0.3, 0.2, 0.4), subtask="nest"), reading("ladder", "lost", LARGE, subtask="all")]
    told = prescribed(tmp_path, [*WEAK, *lost])[1]
    gain = remedy(told, "mixture")["gain"]
    assert (gain["value"], gain["low"], gain["high"]) == pytest.approx((0.1, 0.2 / 3, 0.4 / 3))
    assert gain["from"].startswith("ladder")
    assert gain["points"].startswith("at most +10.0 [+6.7, +13.3] points")


def test_a_weakness_that_no_interval_shows_is_not_a_remedy(tmp_path: Path) -> None:
    run, told = prescribed(tmp_path, scored(nest=93, names=99))
    assert told["mixture"], "who wants to train still finds the shares"
    assert (run.folder / "recipe.toml").exists()
    assert "nest 93.0 %" in passed(told, "mixture")
    assert told["remedies"] == []
    with pytest.raises(BadInput, match="at least 95%"):
        prescribe(PrescribeRecipe(run=str(diagnosis(tmp_path / "b", scored(nest=99)).folder)), tmp_path)


def test_where_nearly_all_is_wrong_the_shares_come_with_a_warning(tmp_path: Path) -> None:
    told = prescribed(tmp_path, scored(nest=0, slots=5, names=10, full=60))[1]
    assert any("3 of 4 sub-tasks are hardly ever right" in line for line in told["advice"])
    assert not any("hardly ever" in line for line in prescribed(tmp_path / "b", WEAK)[1]["advice"])


def test_common_form_and_decision_faults_ask_for_negatives(tmp_path: Path) -> None:
    faults = [
        reading("fault", "needless_call", share(30, 100), 100),
        reading("fault", "needless_call", share(30, 50), 50, subtask="nest"),
        reading("fault", "wrong_value", share(60, 100), 100),
        reading("fault", "unparsable", share(6, 100), 100),
    ]
    found = remedy(prescribed(tmp_path, [*WEAK, *faults])[1], "negatives")
    assert found["setting"]["faults"] == "needless_call=0.3", "values are no matter of form, 6 % may be 2"
    assert "callgrain pairs toolworld:open --faults needless_call=0.3 --like" in found["how"]
    assert found["gain"]["value"] == pytest.approx(0.6 * 0.5 / 3), "30 of the 100 that nest was asked"
    few = [reading("fault", "needless_call", share(6, 100), 100)]
    assert "more than 5%" in passed(prescribed(tmp_path / "few", [*WEAK, *few])[1], "negatives")


# settings -------------------------------------------------------------------------------------

LADDER = {"syntax": "constrain", "schema": "schemas", "retrieval": "retrieval"}


def evidence(kind: str, figure: tuple[float, float, float]) -> list[Reading]:
    """Readings whose gain for a kind of remedy has this interval."""
    low = (0.5, 0.45, 0.55)
    best = (0.5 + figure[0], 0.5 + figure[1], 0.5 + figure[2])
    axis = {"fewer_calls": "calls", "fewer_arguments": "arguments"}.get(kind, "")
    if kind in LADDER.values():
        rung = next(r for r, k in LADDER.items() if k == kind)
        broken = reading("form", "broken", (0.0, 0.0, 0.01), subtask="nest")
        return [broken, reading("ladder", "alone", figure, subtask="all", rung=rung)]
    if axis:
        mark = reading("density", "D90", (4.4, 3.2, 6.0), axis=axis)
        loads = [reading("density", "ok", best if load < 4 else low, axis=axis, load=load) for load in (1, 2, 4, 8)]
        return [mark, *loads]
    if kind == "history":
        return [reading("contamination", "mitigation", figure, fault=f, mitigation="prune") for f in ("a", "b")]
    if kind == "escalation":
        by = {"score": "worst", "target": 0.9}
        return [
            reading("confidence", "threshold", (0.7, None, None), **by),
            reading("confidence", "kept", (0.6, 0.5, 0.7), **by),
            reading("confidence", "kept_ok", best, **by),
            *(reading("confidence", "risk", low, score="worst", coverage=c) for c in (0.5, 1.0)),
        ]
    if kind == "voting":
        return [reading("confidence", "vote", figure, voters=8, rule="majority", shown=figure[1] > 0, p=0.01)]
    return [reading("reliability", "pass_at", low, k=1), reading("reliability", "pass_at", best, k=8)]


SETTINGS = {
    "constrain": {"structured_output": True},
    "schemas": {"schemas": "compact"},
    "retrieval": {"k": 5},
    "fewer_calls": {"most_calls": 3},
    "fewer_arguments": {"most_arguments": 3},
    "history": {"history": "prune"},
    "escalation": {"score": "worst", "threshold": 0.7, "target": 0.9},
    "voting": {"voters": 8, "rule": "majority"},
    "repeats": {"repeats": 8},
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_only_what_an_interval_shows_is_prescribed(tmp_path: Path, kind: str) -> None:
    run, told = prescribed(tmp_path, [*WEAK, *evidence(kind, LARGE)], model="remote:m@http://x")
    found = remedy(told, kind)
    assert [r["kind"] for r in told["remedies"]] == [kind]
    assert {p["kind"] for p in told["looked_at"]} == KINDS - {kind}
    assert found["setting"] == SETTINGS[kind]
    assert found["gain"]["value"] == pytest.approx(0.2)
    assert found["gain"]["low"] <= 0.11
    assert found["because"]
    written = tomllib.loads((run.folder / "wrappers.toml").read_text())
    assert written == {kind: SETTINGS[kind]}
    told = prescribed(tmp_path / "small", [*WEAK, *evidence(kind, SMALL)], model="remote:m@http://x")[1]
    assert told["remedies"] == []
    assert "shown to" in passed(told, kind), "the reason says that it was looked at"


def test_the_best_of_several_must_stand_after_widening(tmp_path: Path) -> None:
    def mitigations(names: str) -> list[Reading]:
        return [reading("contamination", "mitigation", (0.1, 0.03, 0.17), fault="a", mitigation=m) for m in names]

    assert remedy(prescribed(tmp_path, [*WEAK, *mitigations("p")])[1], "history")["gain"]["low"] == pytest.approx(0.03)
    assert "no mitigation" in passed(prescribed(tmp_path / "many", [*WEAK, *mitigations("pqrstu")])[1], "history")


def test_k_is_what_a_retriever_needs_within_what_the_model_carries(tmp_path: Path) -> None:
    tools = [
        reading("density", "D90", (12.5, 9.7, 20.0), axis="tools"),
        *(
            reading("density", "ok", (v, v - 0.05, v + 0.05), axis="tools", load=k)
            for k, v in ((4, 0.95), (8, 0.9), (64, 0.3))
        ),
    ]

    def complete(k: int, low: float) -> Reading:
        return reading("retrieval", "complete", (low + 0.03, low, low + 0.05), retriever="bm25", k=k, size=100)

    chance = reading("retrieval", "complete", (1.0, 0.99, 1.0), retriever="random", k=1, size=100)
    found = remedy(prescribed(tmp_path, [*WEAK, *tools, chance, complete(3, 0.7), complete(5, 0.92)])[1], "retrieval")
    assert found["setting"] == {"k": 5}
    assert found["gain"]["value"] == pytest.approx(0.6), "8 tools against 64"
    assert "64 tools" in found["gain"]["of"]
    told = prescribed(tmp_path / "b", [*WEAK, *tools, complete(5, 0.6), complete(30, 0.92)])[1]
    assert remedy(told, "retrieval")["setting"] == {"k": 9}, "no more than it carries, at the lower limit"


def test_broken_form_is_a_bound_where_no_gain_was_measured(tmp_path: Path) -> None:
    form = [reading("form", "broken", share(30, 100), subtask=s) for s in ("nest", "slots", "names")]
    told = prescribed(tmp_path, [*WEAK, *form], can_constrain=True)[1]
    found = remedy(told, "constrain")
    assert found["gain"]["at_most"]
    assert (found["setting"], found["applied_by"]) == ({"constrain": True}, "callgrain")
    assert found["how"] == "callgrain diagnose --model tiny --source toolworld:open --constrain"
    right = [reading("form", "right_but_for_form", share(20, 100), subtask=s) for s in ("nest", "slots", "names")]
    gain = remedy(prescribed(tmp_path / "b", [*WEAK, *form, *right])[1], "constrain")["gain"]
    assert (gain["at_most"], gain["value"]) == (False, pytest.approx(0.2))


# models that cannot be trained ----------------------------------------------------------------


@pytest.mark.parametrize("model", ["scripted:wrong_tool=0.5", "remote:m@http://127.0.0.1:1"])
def test_a_model_without_weights_gets_settings_alone(tmp_path: Path, model: str) -> None:
    run, told = prescribed(tmp_path, [*WEAK, *evidence("voting", LARGE)], model=model)
    assert (told["mixture"], told["reasons"], told["build"]) == ({}, [], {})
    assert not (run.folder / "recipe.toml").exists()
    assert "callgrain does not do it" in (run.folder / "wrappers.toml").read_text()
    run, told = prescribed(tmp_path / "well", scored(nest=100), model=model)
    assert told["remedies"] == [], "nothing to do is an answer, not an error"
    assert not (run.folder / "wrappers.toml").exists()


def test_the_verb_exits_0_for_a_model_without_weights(tmp_path: Path) -> None:
    asked = diagnose(DiagnoseRecipe(model="scripted:wrong_value=0.3", source="toolworld:micro", n=8), tmp_path)
    for flags in ([], ["--json"]):
        done = CliRunner().invoke(
            app_for("prescribe"), ["prescribe", str(asked.folder), "--out", str(tmp_path), *flags]
        )
        assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert Path(summary["run"], "report.html").exists()
    assert {"mixture", "reasons", "advice", "build", "remedies", "looked_at"} <= set(summary)


# the page -------------------------------------------------------------------------------------

EVIL = "<script>alert(1)</script>\x1b[31m"


def test_readings_and_page_show_the_prescription_behind_the_diagnosis(tmp_path: Path) -> None:
    found = [*WEAK, *evidence("voting", LARGE), *evidence("history", LARGE)]
    run, told = prescribed(tmp_path, found)
    readings = [Reading.model_validate(r) for r in run.rows("readings")]
    assert readings[: len(found)] == found
    gains = [r for r in readings if (r.probe, r.name) == ("prescription", "gain")]
    assert [r.by["remedy"] for r in gains] == [r["kind"] for r in told["remedies"]]
    assert [r.by["order"] for r in gains] == [1, 2, 3]
    assert gains[-1].by["at_most"], "bounds stand behind what was measured"
    page = write_page(run).read_text()
    for part in ("What to do about it", "mending the history", "voting", "looked at and not prescribed"):
        assert part in page
    assert "nest" in page


def test_a_panel_is_inert_and_says_where_there_is_nothing(tmp_path: Path) -> None:
    assert Prescription().draw(WEAK) is None
    by = {"remedy": EVIL, "order": 1, "setting": EVIL, "reason": EVIL, "how": EVIL, "of": EVIL, "from": EVIL}
    drawn = Prescription().draw([reading("prescription", "gain", LARGE, **by)])
    assert drawn is not None
    assert "<script" not in drawn
    assert "\x1b" not in drawn
    assert "+20.0" in drawn
    nothing = Prescription().draw([reading("prescription", "passed", (None, None, None), remedy="voting", reason=EVIL)])
    assert "Nothing is prescribed" in nothing
    assert "<script" not in nothing
    unknown = Prescription().draw([reading("prescription", "gain", (None, None, None), **by)])
    assert "not known" in unknown


# planted weaknesses ---------------------------------------------------------------------------


def test_broken_form_is_found_prescribed_for_and_mended(tmp_path: Path) -> None:
    """A model that fences half of its calls: only the reader of near-misses helps, and it is what is prescribed."""
    patient = wrappers.PATIENTS[0]
    recipe = DiagnoseRecipe(model="planted:form", source="toolworld:full", subtask="full", n=60)
    asked = diagnose(recipe, tmp_path, model=wrappers.Fenced(patient.chance, patient.fenced))
    told = prescribe(PrescribeRecipe(run=str(asked.folder)), tmp_path).read("prescription")
    assert told["remedies"][0]["kind"] == "constrain"
    gain = told["remedies"][0]["gain"]
    requests = wrappers.requests(60)
    plain, mended = (wrappers.right(patient, requests, [kind] * len(requests)) for kind in ("", "constrain"))
    measured = (sum(mended) - sum(plain)) / len(requests)
    assert measured > 0.3
    assert gain["low"] - 0.15 < measured < gain["high"] + 0.25, "other requests: near, not inside"
    for kind in ("retrieval", "history"):
        other = wrappers.right(patient, requests, [kind] * len(requests))
        assert sum(other) < sum(mended)


def test_few_tools_are_a_bound_where_the_right_ones_are_not_found_and_nothing_where_that_costs_more(
    tmp_path: Path,
) -> None:
    def density(low: float, high: float) -> list[dict]:
        marks = [reading("density", "D90", (None, None, None), axis="tools", below=2)]
        loads = [
            reading("density", "ok", (v, v - 0.05, v + 0.05), axis="tools", load=n) for n, v in ((2, low), (64, high))
        ]
        drop = reading(
            "density", "drop", (high - low, high - low - 0.1, high - low + 0.1), axis="tools", least=2, most=64
        )
        return [*marks, *loads, drop]

    rare = reading("retrieval", "complete", (0.19, 0.14, 0.25), retriever="bm25", k=5, size=300)
    found = remedy(prescribed(tmp_path / "bound", [*WEAK, *density(0.8, 0.05), rare])[1], "retrieval")
    assert found["gain"]["at_most"] is True
    assert "bm25 finds every tool that is due among 5 for 19.0 % [14.0, 25.0]" in found["reason"]
    told = prescribed(tmp_path / "worse", [*WEAK, *density(0.9, 0.6), rare])[1]
    assert "retrieval" not in {r["kind"] for r in told["remedies"]}
    (passed,) = [p for p in told["looked_at"] if p["kind"] == "retrieval"]
    assert "would cost more" in passed["reason"]
    often = reading("retrieval", "complete", (0.95, 0.92, 0.97), retriever="bm25", k=5, size=300)
    free = remedy(prescribed(tmp_path / "found", [*WEAK, *density(0.8, 0.05), often])[1], "retrieval")
    assert free["gain"]["at_most"] is False

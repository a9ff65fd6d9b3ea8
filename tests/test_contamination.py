"""The probe `contamination`: histories wrong in named ways, what mends them, chains, slopes and curves."""

from collections import Counter
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from random import Random
from typing import Any

import pytest
from benchmarks import _plants_contamination as plants
from benchmarks._planting import Planted, cut, diagnosed, pick, put, questions

from callgrain.core.types import Call, Message, Prompt, Reading, Reply, Sample, Trace
from callgrain.panels.contamination import Contamination as Panel
from callgrain.probes import _contamination_cells as cells
from callgrain.probes import contamination
from callgrain.probes._contamination_chain import next_turns, said, walked
from callgrain.probes._contamination_history import CLOSING, UNREAD, Earlier, Exchange, Scene, asked, exchange, is_base
from callgrain.probes._contamination_slope import slope
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings
from callgrain.probes._graded import Graded, subtask_of
from callgrain.probes._pool import Pool
from callgrain.probes._survival import constant, horizon, life, survival
from callgrain.probes.contamination import BASES, Contamination

POOL = cut("toolworld:full", ("full", "decide"), 50)
FULL = subtask_of("full")


def scenes(pool: Pool, turns: int = cells.LONG) -> list[Scene]:
    earlier = Earlier.of(pool.traces)
    return [earlier.before(t, turns, Random(1)) for t in pool.traces.values() if is_base(t)]


def mine(pool: Pool, seed: int = 0) -> list[Sample]:
    return list(Contamination().samples(pool, Random(seed)))


def of(sample: Sample, name: str) -> Any:
    return sample.traits.get(f"contamination_{name}")


# curves and slopes ---------------------------------------------------------------------------

REMISSION = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+"
"""Weeks of remission under 6-mercaptopurine (Freireich et al. 1963), the example of the textbooks; + is censored."""
TEXTBOOK = {6: (0.857, 0.0764), 7: (0.807, 0.0869), 10: (0.753, 0.0963), 16: (0.627, 0.1141), 23: (0.448, 0.1346)}
"""Kaplan and Meier's curve of it, and Greenwood's standard error."""


def test_the_curve_is_the_textbook_s() -> None:
    lives = [(int(text.strip("+")), "+" not in text) for text in REMISSION.split()]
    steps = {step.turn: step for step in survival(lives)}
    assert (steps[6].at_risk, steps[7].at_risk, steps[23].at_risk) == (21, 17, 6)
    for turn, (value, error) in TEXTBOOK.items():
        step = steps[turn]
        assert step.value == pytest.approx(value, abs=5e-4)
        size = step.value * (1 - step.value) / error**2
        z = 1.959963984540054
        middle = (value + z * z / (2 * size)) / (1 + z * z / size)
        half = z * sqrt(value * (1 - value) / size + z * z / (4 * size * size)) / (1 + z * z / size)
        assert (step.low, step.high) == (
            pytest.approx(middle - half, abs=2e-3),
            pytest.approx(middle + half, abs=2e-3),
        )


def test_without_censoring_the_curve_is_a_share_with_wilson_s_limits() -> None:
    steps = survival([life([True, False]), life([True, True]), life([True, True]), life([False])])
    assert [s.value for s in steps] == [0.75, pytest.approx(0.5)]
    assert (steps[1].low, steps[1].high) == (pytest.approx(0.1500, abs=1e-3), pytest.approx(0.8500, abs=1e-3))
    assert survival([]) == []
    never = survival([(3, False)] * 5)
    assert all(s.value == 1 and s.low < 0.7 for s in never), "five chains that held are no certainty"
    gone = survival([(1, True)] * 5)
    assert gone[0].value == 0
    assert gone[0].high > 0.3


def test_an_unanswered_turn_ends_the_watching_before_it() -> None:
    assert life([True, None, False]) == (1, False)
    assert life([None]) == (0, False)
    assert life([True, False, True]) == (2, True)


def test_horizons_are_censored_where_the_curve_does_not_fall_so_far() -> None:
    steps = survival([life([True] * 7 + [False])] * 3 + [life([True, False])] * 3 + [life([True] * 8)] * 2)
    value, low, high = horizon(steps, 0.8)
    assert (value, low) == (2, 1)
    assert high is None or high >= 2
    assert horizon(steps, 0.1)[0] is None


def test_the_formula_of_a_constant_chance() -> None:
    assert constant(0.99, 0.5) == 69
    assert constant(0.5, 0.5) == 1
    assert constant(0.9, 0.8) == 3
    assert (constant(1.0, 0.5), constant(None, 0.5), constant(0.0, 0.8)) == (None, None, 1.0)


def test_a_slope_of_two_points_is_the_paired_difference() -> None:
    points = {str(i): [(0.0, 1.0), (1.0, float(i % 4 == 0))] for i in range(16)}
    found = slope(points)
    assert found is not None
    assert found.value == -12 / 16
    assert found.low is not None
    assert found.high is not None
    assert found.low < -12 / 16 < found.high < 0
    assert found.p < 1e-3


def test_what_makes_a_request_hard_by_itself_is_no_part_of_the_slope() -> None:
    rows = {"a": [(0.0, 1.0), (1.0, 0.5)], "b": [(0.0, 0.5), (0.5, 0.25), (1.0, 0.0)], "alone": [(0.5, 9.0)]}
    found = slope(rows)
    assert found is not None
    assert (found.value, found.low, found.clusters) == (pytest.approx(-0.5), None, 2)
    assert slope({"a": [(0.5, 1.0)]}) is None


def test_a_model_that_is_always_right_has_a_slope_of_a_width() -> None:
    found = slope({str(i): [(0.0, 1.0), (0.5, 1.0), (1.0, 1.0)] for i in range(10)})
    assert found is not None
    assert found.value == 0
    assert found.p == 1.0
    assert found.low is not None
    assert -0.5 < found.low < -0.1


# histories -----------------------------------------------------------------------------------


def first_fault(trace: Trace, tools: Any, made: Exchange) -> str | None:
    """What the verifier says of an earlier turn, asked by itself."""
    sample = asked(trace, tools)
    assert sample is not None
    reply = Reply(text="-", message=made.turn)
    verdict = FULL.grade(sample, reply)
    return verdict.first.kind if verdict.first else None


@pytest.mark.parametrize("fault", ["wrong_tool", "wrong_value", "needless_call"])
def test_the_first_fault_of_an_earlier_turn_is_the_one_that_was_chosen(fault: str) -> None:
    seen = 0
    for scene in scenes(POOL)[:12]:
        traces = scene.answers if fault in cells.ANSWER_FAULTS else scene.calls
        for trace in traces:
            right, wrong = exchange(trace, scene.tools), exchange(trace, scene.tools, fault)
            if trace.gold.decision == "call":
                assert first_fault(trace, scene.tools, right) is None
            if wrong.is_wrong:
                seen += 1
                assert first_fault(trace, scene.tools, wrong) == fault
    assert seen > 40


def test_a_malformed_turn_is_a_text_and_is_answered_by_one() -> None:
    scene = scenes(POOL)[0]
    gone, healed = (exchange(scene.calls[0], scene.tools, "wrong_shape", e) for e in ("consistent", "healed"))
    assert gone.turn.calls == ()
    assert '"input"' in gone.turn.text
    assert [m.role for m in gone.messages] == ["user", "assistant", "user", "assistant"]
    assert gone.note == UNREAD
    assert healed.state in healed.note


def test_environments_differ_in_what_comes_back_and_in_nothing_else() -> None:
    differing = 0
    for scene in scenes(POOL)[:10]:
        for trace in scene.calls:
            right = exchange(trace, scene.tools)
            gone, healed = (exchange(trace, scene.tools, "wrong_value", e) for e in ("consistent", "healed"))
            assert gone.turn == healed.turn
            assert gone.messages[-1].text == right.messages[-1].text == CLOSING
            assert [r.value for r in healed.results] == [r.value for r in right.results]
            assert len(gone.results) == len(gone.turn.calls)
            differing += [r.value for r in gone.results] != [r.value for r in right.results]
    assert differing > 20


@pytest.mark.parametrize("fault", cells.CALL_FAULTS)
def test_the_share_is_exact_and_higher_rates_hold_the_lower_ones(fault: str) -> None:
    for scene in scenes(POOL)[:6]:
        traces, before = scene.calls[: cells.TURNS], set[int]()
        for rate in (0.25, 0.5, 1.0):
            turns = cells.history(scene, traces, fault, "consistent", rate)
            wrong = {i for i, turn in enumerate(turns) if turn.is_wrong}
            assert len(wrong) == rate * cells.TURNS
            assert before < wrong
            assert [t.request for t in turns] == [t.request for t in cells.history(scene, traces, "", "consistent", 0)]
            before = wrong


def test_tools_of_a_scene_leave_no_choice_open_and_hold_every_right_call() -> None:
    for scene in scenes(POOL):
        names = Counter(tool.name for tool in scene.tools)
        assert set(names.values()) == {1}
        for trace in (scene.base, *scene.calls):
            assert {c.name for c in trace.gold.calls} <= set(names)
        said_ = [t.messages[-1].text for t in (scene.base, *scene.calls, *scene.answers)]
        assert len(set(said_)) == len(said_)


def test_questions_are_paired_bounded_and_the_same_again() -> None:
    found = mine(POOL)
    assert [s.key for s in found] == [s.key for s in mine(POOL)]
    assert len({s.key for s in found}) == len(found)
    by_request = Counter(s.traits["of"] for s in found if of(s, "chain") is None)
    assert len(by_request) == BASES
    assert max(by_request.values()) <= 32
    behind = {s.key: trace for trace, s in POOL.rows}
    for key in by_request:
        own = [s for s in found if s.traits["of"] == key and of(s, "chain") is None]
        assert len({tuple(t.name for t in s.prompt.tools) for s in own}) == 1
        assert len({s.answer.key for s in own}) == 1
        assert all(s.prompt.messages[-1].text.endswith(own[0].prompt.messages[-1].text) for s in own)
        assert key in behind
    for one in found:
        calls = [c for m in one.prompt.messages for c in m.calls]
        results = [r for m in one.prompt.messages for r in m.results]
        assert len(calls) == len(results)
        assert of(one, "arm") in ("control", "history", "mended", "alone")
        if of(one, "arm") == "control":
            assert of(one, "share") == 0
        if of(one, "arm") == "history":
            assert of(one, "share") == of(one, "rate")


def test_no_request_is_in_two_chains() -> None:
    chained = [s.traits["of"] for s in mine(POOL) if of(s, "chain") is not None]
    assert chained
    assert len(set(chained)) == len(chained)


def test_mitigations_leave_what_they_say() -> None:
    scene = scenes(POOL)[0]
    turns = cells.history(scene, scene.calls[: cells.TURNS], "wrong_tool", "consistent", 0.5)
    kept = {name: mend(turns) for name, mend in cells.MITIGATIONS.items()}
    assert [t.is_wrong for t in kept["prune"][0]] == [False, False]
    marked = kept["mark"][0]
    assert all((r.error == cells.MARK) == t.is_wrong for t in marked for r in t.results)
    assert [t.turn for t in marked] == [t.turn for t in turns]
    assert kept["window"][0] == turns[-1:]
    assert kept["summarise"][0] == []
    assert kept["summarise"][1].count("\n- ") == cells.TURNS
    assert kept["re_derive"][0] == turns
    assert all(t.state in kept["re_derive"][1] for t in turns)


# chains --------------------------------------------------------------------------------------


def answered(model: Any, pool: Pool, rounds: int) -> list[Graded]:
    """The chains alone."""
    probe = Contamination()
    chosen = [q for q in questions(probe, "contamination", pool) if "contamination_chain" in q[2].traits]
    graded = put(model, chosen)
    for _ in range(rounds):
        known = {g.sample.key for g in graded}
        more = [s for s in probe.follow(graded) if s.key not in known]
        graded += put(model, [("contamination", "", s) for s in more])
    return graded


class Mute(Planted):
    """Its second turns cannot be read, and its third ones do not come at all."""

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        return [self._said(prompt, reply) for prompt, reply in zip(prompts, super().answer(prompts), strict=True)]

    def _said(self, prompt: Prompt, reply: Reply) -> Reply:
        asked_before = sum(m.role == "user" and m.text != UNREAD for m in prompt.messages) - 1
        own = of(self._known[prompt.model_copy().key], "arm") == "own"
        if own and asked_before == 1:
            return Reply(text="[{broken", fault=FULL.grade(*_broken(self, prompt)).faults[0])
        return Reply(failure="gone") if own and asked_before == 2 else reply


def _broken(model: Planted, prompt: Prompt) -> tuple[Sample, Reply]:
    from callgrain.verify.faults import fault

    return model._known[prompt.key], Reply(text="[{broken", fault=fault("unparsable", "", None, "[{broken"))


def test_a_chain_goes_on_behind_the_model_s_own_turns() -> None:
    graded = answered(Planted(lambda sample: 0.5, seed=4), POOL, 9)
    chains = walked(graded)
    assert len(chains) >= 3
    for chain in chains:
        assert all(own is not None for _, own in chain.values())
        last, own = chain[max(chain)]
        assert own is not None
        history = own.sample.prompt.messages[1:-1]
        earlier = [one for turn, (_, one) in chain.items() if turn < max(chain) and one is not None]
        assert list(history) == [m for one in earlier for m in said(one.sample, one.reply).messages]
        told = [(c.name, c.arguments) for m in history for c in m.calls]
        given = [(c.name, c.arguments) for one in earlier if one.reply.message for c in one.reply.message.calls]
        assert told == given
        assert own.sample.prompt.messages[-1] == last.sample.prompt.messages[-1]
    assert not [s for s in next_turns(graded) if s.key not in {g.sample.key for g in graded}]


def test_a_turn_that_cannot_be_read_stays_and_one_that_does_not_come_ends_the_chain() -> None:
    graded = answered(Mute(lambda sample: 1.0), POOL, 9)
    for chain in walked(graded):
        third = chain[3][1]
        assert third is not None
        assert UNREAD in [m.text for m in third.sample.prompt.messages]
        assert chain[4][1] is None, "nothing is asked behind a turn that did not come"
    found = Contamination().read(graded)
    turns = {r.by["turn"]: r for r in found if r.name == "survival"}
    assert (turns[1].value, turns[2].value, set(turns)) == (1.0, 0.0, {1, 2})


def test_own_calls_give_what_running_them_gives_and_else_what_fits_the_schema() -> None:
    sample = next(s for s in POOL if s.subtask == "full" and len(s.answer.calls) == 1 and not s.answer.ordered)
    right = Reply(text="-", message=Message(calls=sample.answer.calls, thought="hm"))
    ran = said(sample, right)
    assert ran.results[0].value == sample.answer.result[0]
    assert ran.turn.thought == ""
    bare = sample.model_copy(update={"answer": sample.answer.model_copy(update={"world": ""})})
    assert said(bare, right).results[0].error is None
    other = Reply(text="-", message=Message(calls=(Call(name="nothing_like_it"),)))
    assert "nothing_like_it" in str(said(bare, other).results[0].error)
    lost = sample.model_copy(update={"answer": sample.answer.model_copy(update={"world": "no_such_world:1"})})
    assert said(lost, right).results[0].error is None
    assert said(sample, Reply(text="x", message=Message(text="x"))).messages[-1].text == "x"


# readings ------------------------------------------------------------------------------------


def run_of(root: Path, model: Any, source: str = "toolworld:full", n: int = 36) -> list[Reading]:
    recipe = DiagnoseRecipe(
        model="scripted:wrong_value=0.1", source=source, subtask="full,decide", probe="contamination", n=n
    )
    found = readings(diagnose(recipe, root, model=model))
    return [r for r in found if r.probe == "contamination"]


class Dying(Planted):
    """Goes down in the midst of it, as a process may."""

    left = 10**6

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        self.left -= len(prompts)
        if self.left < 0:
            raise KeyboardInterrupt
        return super().answer(prompts)


def test_a_planted_slope_is_found_through_a_run(tmp_path: Path) -> None:
    found = run_of(tmp_path / "a", Planted(plants._chance, seed=3))
    steep = pick(found, "slope", fault="wrong_tool", environment="consistent")
    assert steep is not None
    assert steep.low is not None
    assert steep.high is not None
    assert steep.low <= -plants.FALL <= steep.high < 0
    assert steep.by["shown"] is True
    for fault in ("wrong_value", "wrong_shape", "needless_call"):
        flat = pick(found, "slope", fault=fault, environment="consistent")
        assert flat is not None
        assert flat.by["shown"] is False
    prune = pick(found, "mitigation", fault="wrong_tool", mitigation="prune")
    assert prune is not None
    assert prune.low is not None
    assert prune.high is not None
    assert 0 < prune.low <= plants.FALL <= prune.high
    restored = pick(found, "restored", fault="wrong_tool", mitigation="prune")
    assert restored is not None
    assert restored.low is not None
    assert restored.high is not None
    assert restored.low <= 0 <= restored.high, "all of the loss comes back, and no more"
    assert pick(found, "H80") is not None


def test_a_run_cut_off_goes_on_and_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contamination, "BASES", 3)
    whole = Dying(plants._chance, seed=3)
    found = run_of(tmp_path / "whole", whole, n=30)
    assert {"slope", "mitigation", "survival", "drift", "decay"} <= {r.name for r in found}
    for left in (100, 10**6 - whole.left - 3):  # among the first questions, and in the last round of the chains
        dying = Dying(plants._chance, seed=3)
        dying.left = left
        with pytest.raises(KeyboardInterrupt):
            run_of(tmp_path / str(left), dying, n=30)
        assert run_of(tmp_path / str(left), Planted(plants._chance, seed=3), n=30) == found


def test_nothing_is_asked_and_nothing_read_where_there_is_no_history_to_make(tmp_path: Path) -> None:
    assert mine(cut("toolworld:full", ("decide",), 4)) == []
    assert run_of(tmp_path, Planted(lambda sample: 0.5), n=2) == []
    assert Contamination().read([]) == []
    assert mine(Pool(())) == []


@pytest.mark.parametrize("source", ["sgd:sgd", "bfcl:bfcl_v4", "gsm8k:gsm8k"])
def test_real_sources_are_asked_or_passed_over(shared_data: Path, source: str) -> None:
    name, folder = source.split(":")
    pool = cut(f"{name}:{shared_data / folder}", ("full",), 30)
    found = mine(pool)
    for one in found:
        assert FULL.grade(one, Reply(text="-", message=one.answer.message)).ok
    assert bool(found) == (name != "gsm8k")


def test_a_source_without_results_still_gives_answers_to_calls() -> None:
    bare = {
        key: t.model_copy(update={"results": (), "gold": t.gold.model_copy(update={"world": "", "result": None})})
        for key, t in POOL.traces.items()
    }
    pool = Pool(POOL.rows, bare)
    found = [s for s in mine(pool) if of(s, "arm") in ("control", "history") and of(s, "fault") != "needless_call"]
    results = [r for s in found for m in s.prompt.messages for r in m.results]
    assert len(results) > 300
    assert not [r for r in results if r.error is None and not r.value]
    assert {type(r.value) for r in results if r.error is None} == {dict}
    assert [r for r in results if r.error is not None]


# the panel -----------------------------------------------------------------------------------

HOSTILE = '"><script>alert(1)</script>\u202e'


def test_the_panel_says_what_was_found_and_draws_it() -> None:
    model = Planted(plants._chance, seed=3)
    page = str(Panel().draw(diagnosed(Contamination(), "contamination", POOL, model)))
    assert "wrong_tool" in page
    assert "pull the next turn down" in page
    assert page.count("<figure") == 3
    assert "not shown" in page
    assert "no estimate" in page
    assert Panel().draw([]) is None
    assert Panel().draw([Reading(probe="control", name="ok", value=1.0)]) is None


def test_the_panel_names_a_floor_and_takes_hostile_names() -> None:
    rows = [
        Reading(probe="contamination", name="ok", value=0.0, low=0.0, high=0.2, n=18, by=by)
        for rate in (0.0, 1.0)
        for by in [{"fault": HOSTILE, "environment": "consistent", "rate": rate}]
    ]
    rows += [
        Reading(probe="contamination", name="length", value=v, low=0.0, high=1.0, n=18, by={"turns": t})
        for t, v in ((0, 0.8), (4, 0.0))
    ]
    by = {"fault": HOSTILE, "environment": HOSTILE, "p": 1.0, "shown": False}
    rows.append(Reading(probe="contamination", name="slope", value=0.0, low=-0.1, high=0.1, n=18, by=by))
    by = {"fault": HOSTILE, "mitigation": HOSTILE, "p": 0.5, "shown": False}
    rows.append(Reading(probe="contamination", name="mitigation", value=None, n=0, by=by))
    page = str(Panel().draw(rows))
    assert "hardly anything left to fall" in page
    assert "<script" not in page
    assert "\u202e" not in page

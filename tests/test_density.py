"""The density probe: what it asks, what it reads of planted models, and its panel."""

from collections import Counter, defaultdict
from random import Random

import pytest
from benchmarks._planting import Planted, cut, pick, put, questions

from callgrain.core.types import Call, Fault, Message, Reading, Reply, Verdict
from callgrain.panels.density import DensityPanel
from callgrain.probes._density_arguments import ASKED
from callgrain.probes._density_crossing import Crossing
from callgrain.probes._density_cut import AXES, BASES, LOADS, loads_within
from callgrain.probes._density_read import crossed, density_readings
from callgrain.probes._density_trials import Trial, trials, type_of
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings
from callgrain.probes._graded import Graded, subtask_of
from callgrain.probes._pool import Pool
from callgrain.probes.density import Density
from callgrain.verify.spoil import right

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\u202edlrow\x1b[31m", "</table></details>")


@pytest.fixture(scope="module")
def pool():
    return cut("toolworld:full", ["full", "slots"], 60)


@pytest.fixture(scope="module")
def asked(pool):
    return questions(Density(), "density", pool)


def of_axis(asked, axis):
    return [s for _, _, s in asked if s.traits.get("density_axis") == axis]


def test_the_same_requests_stand_at_every_load(pool, asked):
    keys = {sample.key for sample in pool}
    for axis in AXES:
        by_load = defaultdict(list)
        for sample in of_axis(asked, axis):
            by_load[sample.traits["density_load"]].append(sample.traits["of"])
            assert sample.traits["of"] in keys
        assert set(by_load) == set(LOADS[axis][: len(by_load)])
        assert len(by_load) >= 4
        assert len({tuple(sorted(found)) for found in by_load.values()}) == 1, axis
        assert all(8 <= len(found) == len(set(found)) <= BASES for found in by_load.values())


def test_the_key_of_every_question_is_right_and_calls_what_is_shown(asked):
    for _, _, sample in asked:
        if "density_axis" in sample.traits:
            assert subtask_of(sample.subtask).grade(sample, right(sample)).ok
            assert {c.name for c in sample.answer.calls} <= {t.name for t in sample.prompt.tools}


def test_tools_vary_alone_and_the_gold_stands_everywhere(asked):
    places, words = defaultdict(list), defaultdict(set)
    for sample in of_axis(asked, "tools"):
        load, place = sample.traits["density_load"], sample.traits["density_place"]
        names = [t.name for t in sample.prompt.tools]
        assert len(set(names)) == load
        assert names.index(sample.answer.calls[0].name) == place
        places[load].append(place / (load - 1))
        words[sample.traits["of"]].add((sample.prompt.messages[-1].text, sample.answer.key))
    assert all(len(found) == 1 for found in words.values())
    for found in places.values():
        assert 0.4 < sum(found) / len(found) < 0.6
        assert sum(p < 0.5 for p in found) == pytest.approx(len(found) / 2, abs=1.5)


def test_arguments_are_all_said_and_declared_ones_are_not(asked):
    shown = defaultdict(set)
    for sample in of_axis(asked, "arguments"):
        (call,) = sample.answer.calls
        (tool,) = [t for t in sample.prompt.tools if t.name == call.name]
        shown[sample.traits["of"]].add(tuple(t.name for t in sample.prompt.tools))
        said = sample.prompt.messages[-1].text.split("\n")[1:]
        assert len(call.arguments) == sample.traits["density_load"] == len(tool.properties)
        places = [int(p) for p in sample.traits["density_order"].split()]
        assert [said[p] for p in places] == [f"- {n}: {call.arguments[n]}" for n in sorted(call.arguments)]
    assert all(len(found) == 1 for found in shown.values())
    lengths = defaultdict(set)
    for sample in of_axis(asked, "declared"):
        (call,) = sample.answer.calls
        (tool,) = [t for t in sample.prompt.tools if t.name == call.name]
        assert len(tool.properties) == sample.traits["density_load"]
        assert len(call.arguments) == ASKED == len(tool.required)
        lengths[sample.traits["of"]].add(str(sorted(call.arguments.items())))
    assert all(len(found) == 1 for found in lengths.values())


def test_in_a_small_world_arguments_are_asked_for_in_its_words_and_no_sense_twice():
    small = cut("toolworld:micro", ["full"], 60)
    mine = of_axis(questions(Density(), "density", small), "arguments")
    assert mine
    for sample in mine:
        said = sample.prompt.messages[-1].text
        assert "\n" not in said
        assert all(str(v) in said for v in sample.answer.calls[0].arguments.values())
        kinds = [str(v) for v in sample.answer.calls[0].arguments.values()]
        assert len(set(kinds)) == len(kinds)


def test_calls_are_joined_under_constant_tools(asked):
    tools = defaultdict(set)
    for sample in of_axis(asked, "calls"):
        assert len(sample.answer.calls) == sample.traits["density_load"]
        tools[sample.traits["of"]].add(frozenset(t.name for t in sample.prompt.tools))
    assert all(len(found) == 1 for found in tools.values())


def test_samples_repeat_themselves(pool):
    first, second = ([s.key for s in Density().samples(pool, Random(5))] for _ in range(2))
    assert first == second
    assert first != [s.key for s in Density().samples(pool, Random(6))]
    assert len(first) <= BASES * sum(map(len, LOADS.values()))


def test_loads_end_where_half_of_the_requests_do():
    assert loads_within("tools", [64, 64, 9, 9]) == LOADS["tools"]
    assert loads_within("tools", [64, 9, 9]) == (2, 4, 8)
    assert loads_within("tools", [3, 3]) == ()
    assert loads_within("tools", []) == ()


def planted(asked, axis, chance):
    own = [q for q in asked if q[2].traits.get("density_axis") == axis]
    return Density().read(put(Planted(chance), own))


def test_a_break_is_found_where_it_was_planted(asked):
    found = planted(asked, "tools", lambda s: {"wrong_tool": float(s.traits["density_load"] > 16)})
    d50, best = pick(found, "D50", axis="tools"), pick(found, "class", axis="tools", best=True)
    assert [pick(found, "ok", axis="tools", load=n).value for n in LOADS["tools"]] == [1, 1, 1, 1, 0, 0]
    assert d50 is not None
    assert d50.value is not None
    assert 16 <= d50.value <= 32
    assert best is not None
    assert best.by["class"] in ("break", "logistic")
    assert pick(found, "fault", axis="tools", load=64, type="modification").value == 1
    assert pick(found, "fault", axis="tools", load=64, type="omission").value == 0
    assert pick(found, "control", axis="tools", load=64, control="random_tool").value == 1 / 64


def test_no_break_is_beyond_what_was_asked(asked):
    found = planted(asked, "calls", lambda s: {"wrong_value": 0.1})
    d50 = pick(found, "D50", axis="calls")
    assert d50 is not None
    most = max(r.by["load"] for r in found if r.name == "ok")
    assert (d50.value, d50.high, d50.by["beyond"]) == (None, None, most)
    assert d50.low is not None


def test_kinds_of_failure_are_told_apart(asked):
    for kind, named in (("missing_call", "omission"), ("wrong_value", "modification"), ("extra_call", "commission")):
        found = planted(asked, "calls", lambda s, kind=kind: {kind: 1.0})
        shares = {r.by["type"]: r.value for r in found if r.name == "fault" and r.by["load"] == 4}
        assert shares == {t: float(t == named) for t in ("omission", "modification", "commission")}
        each = pick(found, "each", axis="calls", load=4)
        assert each.value == (1.0 if kind == "extra_call" else 0.75)


def test_where_in_the_list_it_fails_is_found(asked):
    def late(sample):
        return {"wrong_tool": float(sample.traits["density_place"] * 2 >= sample.traits["density_load"])}

    place = pick(planted(asked, "tools", late), "position", axis="tools")
    assert place is not None
    assert place.low is not None
    assert place.low > 0.5
    assert place.by["p"] < 0.001


def test_the_first_arguments_right_are_the_first_in_the_request(asked):
    (sample, *_) = [s for s in of_axis(asked, "arguments") if s.traits["density_load"] == 8]
    (call,) = sample.answer.calls
    said = [line[2:].split(": ")[0] for line in sample.prompt.messages[-1].text.split("\n")[1:]]
    kept = {n: v for n, v in call.arguments.items() if n in said[:3]}
    reply = Reply(text="-", message=Message(calls=(Call(name=call.name, arguments=kept),)))
    (one,) = trials([Graded(sample, reply, subtask_of("full").grade(sample, reply), "density", "t")])
    assert [m.ok for m in sorted(one.met, key=lambda m: m.place)] == [True] * 3 + [False] * 5
    assert one.types == {"omission"}


def test_an_unknown_tool_is_a_change_where_it_stands_for_a_call_and_too_much_where_not():
    assert type_of(Fault(kind="unknown_tool", where="calls.0.name")) == "modification"
    assert type_of(Fault(kind="unknown_tool", where="calls.3")) == "commission"
    assert type_of(Fault(kind="truncated")) == "form"


def test_a_load_without_room_for_the_answer_is_in_no_fit():
    def ok(load, trace):
        return Trial("arguments", load, str(trace), load < 32, is_cut_off=load >= 32)

    found = density_readings([ok(load, t) for load in (2, 4, 8, 16, 32) for t in range(10)])
    d50 = pick(found, "D50", axis="arguments")
    assert d50.by["beyond"] == 16
    assert pick(found, "cut_off", load=32).value == 1
    assert pick(found, "class") is None  # all that is left is right: there is no shape


def test_replies_that_never_came_are_no_failures():
    lost = [Trial("tools", 64, str(t), ok=False, is_answered=False) for t in range(10)]
    found = density_readings([*lost, *(Trial("tools", 2, str(t), ok=True) for t in range(10))])
    assert pick(found, "ok", load=64) is None
    assert pick(found, "unanswered", load=64).value == 1


def test_an_end_of_an_interval_says_on_which_side_it_is_open():
    row = crossed("D50", "tools", Crossing(20.0, 10.0, float("inf")), (2, 64), 30)
    assert (row.value, row.low, row.high, row.by["high_beyond"]) == (20.0, 10.0, None, 64)
    row = crossed("D50", "tools", Crossing(0.0, 0.0, 3.0), (2, 64), 30)
    assert (row.value, row.low, row.high, row.by["below"], row.by["low_below"]) == (None, None, 3.0, 2, 2)


def test_a_diagnosis_finds_it_and_resumes_to_the_same(tmp_path):
    recipe = DiagnoseRecipe(model="scripted:perfect", source="toolworld:full", subtask="full", probe="density", n=60)

    def law(sample):
        return {"wrong_value": float(sample.traits.get("density_load", 0) > 4)}

    run = diagnose(recipe, tmp_path, model=Planted(law))
    first = [r for r in readings(run) if r.probe == "density"]
    assert {r.by["axis"] for r in first} == set(AXES)
    for axis in ("tools", "calls"):
        d50 = pick(first, "D50", axis=axis)
        assert d50.value is not None
        assert 4 <= d50.value <= 8
    (run.folder / "done.json").unlink()
    again = diagnose(recipe, tmp_path, model=Planted(law))
    assert [r for r in readings(again) if r.probe == "density"] == first


def test_where_nothing_can_be_made_nothing_is_read(pool):
    assert list(Density().samples(Pool(()), Random(0))) == []
    assert list(Density().samples([], Random(0))) == []
    bare = Pool(pool.rows[:3], {})
    assert list(Density().samples(bare, Random(0))) == []
    one = Pool(pool.rows[:1], {pool.rows[0][0]: pool.traces[pool.rows[0][0]]})
    few = [Graded(s, right(s), Verdict(), "density", "t") for s in Density().samples(one, Random(0))]
    assert all(r.name not in ("class", "fit") for r in Density().read(few))
    assert Density().read([]) == []


def test_the_panel_tells_the_finding(asked):
    found = planted(asked, "tools", lambda s: {"wrong_tool": float(s.traits["density_load"] > 16)})
    page = str(DensityPanel().draw(found))
    assert "Success falls with the number of tools shown" in page
    assert "D50 is 22.6" in page
    assert "<table" in page
    assert "polyline" in page
    flat = str(DensityPanel().draw(planted(asked, "tools", lambda s: {"wrong_tool": 0.0})))
    assert "No fall with the number of tools shown is shown from 2 to 64 tools" in flat
    assert "D50 is beyond 64" in flat
    nothing = str(DensityPanel().draw(planted(asked, "tools", lambda s: {"wrong_tool": 1.0})))
    assert "Nothing is right even at the least load (2 tools)" in nothing
    assert DensityPanel().draw([]) is None


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_readings_stay_inert(text):
    by = {"axis": "tools", "load": 2, "class": text, "type": text, "control": text, "best": True}
    rows = [
        Reading(probe="density", name=name, value=0.5, low=0.4, high=0.6, n=9, by=by)
        for name in ("ok", "fault", "class", "fit", "D50", "drop", "control")
    ]
    page = str(DensityPanel().draw(rows))
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("</details>") == 1
    assert "\x1b" not in page


def test_counts_of_questions_are_what_the_docstring_says(asked):
    mine = Counter(s.traits["density_axis"] for _, _, s in asked if "density_axis" in s.traits)
    assert sum(mine.values()) <= 30 * 23

"""The ladder: Shapley's laws, oracles that mend one axis and no other, planted rungs found again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from benchmarks._planting import Planted, cut, pick, put, questions
from benchmarks._plants_ladder import additive, game_of, values_by_orders
from hypothesis import given
from hypothesis import strategies as st

from callgrain.core.stats import paired_difference
from callgrain.core.types import Answer, Call, Message, Origin, Prompt, Reading, Reply, Sample, Tool
from callgrain.panels.ladder import Ladder as Panel
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings
from callgrain.probes._graded import reading, subtask_of
from callgrain.probes._ladder_lattice import REPLY, RUNGS, WHOLE
from callgrain.probes._ladder_prompts import SHOWN, terse
from callgrain.probes._ladder_replies import mended, rights
from callgrain.probes._pool import Pool
from callgrain.probes._shapley import paired_means, shapley
from callgrain.probes.ladder import MOST, PROMPTS, Ladder
from callgrain.sources._pool import is_right_too
from callgrain.verify.spoil import kinds_on, right, spoil

ALL = ("names", "slots", "parallel", "chain", "nest", "next_call", "full")
GAMES = st.integers(1, 5).flatmap(lambda n: st.lists(st.floats(-1, 1), min_size=1 << n, max_size=1 << n))


# Shapley -------------------------------------------------------------------------------------


@given(GAMES)
def test_values_are_means_over_all_orders(game: list[float]) -> None:
    players = len(game).bit_length() - 1
    found = shapley(game)
    for player, value in values_by_orders(game, range(players)).items():
        assert found[player] == pytest.approx(value, abs=1e-9)
    assert found.sum() == pytest.approx(game[-1] - game[0], abs=1e-9)  # efficiency


@given(GAMES, st.integers(0, 5))
def test_a_dummy_has_no_value_and_changes_no_other(game: list[float], place: int) -> None:
    players = len(game).bit_length() - 1
    place = min(place, players)
    low = (1 << place) - 1
    wider = [game[c & low | c >> 1 & ~low] for c in range(2 * len(game))]
    found = shapley(wider)
    assert found[place] == pytest.approx(0, abs=1e-9)
    assert [*found[:place], *found[place + 1 :]] == pytest.approx(list(shapley(game)), abs=1e-9)


@given(GAMES, st.randoms(use_true_random=False))
def test_names_of_players_do_not_count(game: list[float], random: Random) -> None:
    players = len(game).bit_length() - 1
    order = random.sample(range(players), players)
    renamed = [0.0] * len(game)
    for c, value in enumerate(game):
        renamed[sum(1 << order[i] for i in range(players) if c >> i & 1)] = value
    assert [shapley(renamed)[order[i]] for i in range(players)] == pytest.approx(list(shapley(game)), abs=1e-9)


def test_a_lattice_that_is_none() -> None:
    with pytest.raises(ValueError, match="coalitions"):
        shapley([0.0, 1.0, 1.0])


def test_intervals_of_gains() -> None:
    gains = np.asarray([[1.0, 0.0]] * 30 + [[0.0, 0.0]] * 50 + [[-1.0, 0.0]] * 10)
    (value, low, high), nothing = paired_means(gains, [str(i) for i in range(90)])
    after, before = [True] * 30 + [False] * 60, [False] * 80 + [True] * 10
    assert (value, low, high) == pytest.approx(paired_difference(after, before), abs=0.004)  # t instead of z
    assert nothing[0] == 0
    assert nothing[1] == -nothing[2] != 0  # what was never seen may yet be
    wider = paired_means(gains[:, :1], [str(i) for i in range(90)], looks=7)[0]
    assert wider[1] < low
    assert wider[2] > high
    doubled = paired_means(np.repeat(gains, 2, axis=0), [str(i // 2) for i in range(180)])[0]
    assert doubled[2] - doubled[1] == pytest.approx(high - low, rel=0.06)  # a row twice says nothing new
    assert paired_means(gains[:9], ["a"] * 9)[0][1:] == (None, None)
    with pytest.raises(ValueError, match="cluster"):
        paired_means(gains, ["a"])


# Oracles in the reply ------------------------------------------------------------------------

MENDS = {
    "wrong_tool": {"names"}, "unknown_tool": {"names"}, "wrong_value": {"values"}, "missing_argument": {"values"},
    "wrong_type": {"values"}, "not_allowed": {"values"}, "unknown_argument": {"values"}, "ungrounded_value": {"values"},
    "missing_call": {"plan"}, "extra_call": {"plan"}, "wrong_order": {"plan"}, "broken_reference": {"plan"},
    "wrong_nesting": {"plan"},
}  # fmt: skip


@pytest.fixture(scope="module")
def pool() -> Pool:
    return cut("toolworld:full", ALL, 12)


def test_each_fault_is_mended_by_its_own_oracle(pool: Pool) -> None:
    seen: dict[str, int] = {}
    for sample in pool:
        if sample.answer.decision != "call":
            continue
        task = subtask_of(sample.subtask)
        assert rights(task, sample, right(sample), REPLY) == [True] * 8
        for kind in kinds_on(sample, sorted(task.kinds & MENDS.keys())):
            reply = spoil(kind, sample, Random(1))
            if reply is None or task.grade(sample, reply).ok:
                continue
            found = rights(task, sample, reply, REPLY)
            want = [MENDS[kind] <= {r for i, r in enumerate(REPLY) if c >> i & 1} for c in range(8)]
            assert found == want, (kind, sample.subtask)
            seen[kind] = seen.get(kind, 0) + 1
    assert seen.keys() == MENDS.keys()


def test_what_no_call_was_made_of(pool: Pool) -> None:
    for sample in pool:
        if sample.answer.decision != "call":
            continue
        task = subtask_of(sample.subtask)
        silent = rights(task, sample, Reply(text="No.", message=Message(text="No.")), REPLY)
        assert silent[-1]
        assert not any(silent[c] for c in range(8) if not c & 1)  # nobody chose: only `names` opens calls
        unread = spoil("unparsable", sample, Random(0))
        assert unread is not None
        assert not any(rights(task, sample, unread, REPLY))
        meant = unread.model_copy(update={"recovered": right(sample).message})
        assert rights(task, sample, meant, ("syntax", *REPLY)) == [c & 1 == 1 for c in range(16)]


def test_plan_puts_labels_right_with_the_references(pool: Pool) -> None:
    sample = next(s for s in pool if s.subtask == "nest")
    task, first = subtask_of("nest"), sample.answer.calls[0].label
    renamed = tuple(c.model_copy(update={"label": None if i else first}) for i, c in enumerate(sample.answer.calls, -1))
    found = rights(task, sample, Reply(text="-", message=Message(calls=renamed)), REPLY)
    assert found == [c & 4 == 4 for c in range(8)]  # every reference leads nowhere until labels are the answer's


def test_two_faults_take_two_oracles() -> None:
    tools = (Tool(name="book", parameters=_schema("city")), Tool(name="find", parameters=_schema("city")))
    sample = Sample(
        subtask="full",
        prompt=Prompt(messages=(Message(role="user", text="Ghent"),), tools=tools),
        answer=Answer(calls=(Call(name="book", arguments={"city": "Ghent", "n": 1}),)),
        origin=Origin(dataset="made", row="0", licence="Apache-2.0"),
    )
    reply = Reply(text="-", message=Message(calls=(Call(name="find", arguments={"city": "Bruges", "n": True}),)))
    found = rights(subtask_of("full"), sample, reply, REPLY)
    assert found == [c & 3 == 3 for c in range(8)]
    assert shapley([float(v) for v in found]) == pytest.approx([0.5, 0.5, 0.0])
    almost = Reply(text="-", message=Message(calls=(Call(name="book", arguments={"city": "Ghent", "n": True}),)))
    assert mended(sample, almost, ("values",)) is not almost  # True is not 1
    assert mended(sample, almost, ("names", "plan")) is almost


def _schema(name: str) -> dict[str, Any]:
    fields = {name: {"type": "string"}, "n": {"type": "integer"}}
    return {"type": "object", "properties": fields, "additionalProperties": False}


# Oracles in the prompt -----------------------------------------------------------------------


def test_prompts_differ_by_their_oracles_alone(pool: Pool) -> None:
    able = replace(pool, abilities=replace(pool.abilities, can_constrain=True))
    asked = [s for probe, _, s in questions(Ladder(), "ladder", able) if probe == "ladder"]
    assert [s.key for s in asked] == [s.key for p, _, s in questions(Ladder(), "ladder", able) if p == "ladder"]
    assert 0 < len(asked) <= PROMPTS
    behind = {s.key: (trace, s) for trace, s in pool.rows}
    by: dict[str, dict[str, Sample]] = {}
    for sample in asked:
        by.setdefault(str(sample.traits["of"]), {})[str(sample.traits["ladder"])] = sample
    assert len({s.key for s in asked}) == len(asked)
    missed = 0
    for key, group in by.items():
        trace, own = pool.traces[behind[key][0]], behind[key][1]
        rungs = [r for r in str(group[""].traits["ladder_open"]).split("+") if r]
        assert len(group) - ("sham" in group) - ("pruned" in group) == 1 << len(rungs)
        gold = {c.name for c in own.answer.calls}
        for name, sample in group.items():
            shown, inside = {t.name for t in sample.prompt.tools}, set(name.split("+"))
            assert sample.answer == own.answer
            assert sample.prompt.constrain == ("syntax" in inside)
            if own.subtask != "slots":
                assert len(sample.prompt.tools) == len(shown) >= SHOWN
                assert (
                    ("retrieval" not in rungs) == (gold <= shown)
                    or "retrieval" in inside
                    or len(gold) < len(trace.gold.calls)
                )
            if "retrieval" in inside:
                assert gold <= shown
            others = [t for t in sample.prompt.tools if t not in trace.tools and t.name not in gold]
            assert "schema" in inside or not any(is_right_too(t, trace) for t in others)
            said = sample.prompt.messages
            assert [m for m in own.prompt.messages if m not in said] == []
            if "pruned" in inside:
                assert said == own.prompt.messages
            elif "history" in rungs:
                errors = [r for m in said for r in m.results if r.error is not None]
                assert len(errors) == ("history" not in inside)
                assert not {c.name for c in said[2].calls} & gold
        missed += "retrieval" in rungs
        if "sham" in group:
            sham, base = ({t.name for t in group[k].prompt.tools} for k in ("sham", ""))
            assert sham != base
            assert gold & sham == gold & base
            if "retrieval" in rungs:
                full = {t.name for t in group["retrieval"].prompt.tools}
                assert len(sham - base) <= len(full - base)
    assert missed > 0


def test_terse_tools_keep_what_calls_are_judged_by() -> None:
    fields = {
        "description": {"type": "string", "description": "long", "title": "Long", "examples": ["a"]},
        "kind": {"enum": ["description", "title"], "default": "title", "description": "which"},
        "deep": {"type": "object", "properties": {"title": {"type": "integer", "title": "T"}}, "required": ["title"]},
    }
    whole = {"type": "object", "properties": fields, "required": ["description"], "additionalProperties": False}
    returns = {"type": "object", "title": "hotel", "properties": {"id": {"type": "string", "description": "its id"}}}
    found = terse(Tool(name="a", description="Does it. And more.\nMuch more.", parameters=whole, returns=returns))
    assert found.description == "Does it"
    assert found.parameters == {
        "type": "object",
        "properties": {
            "description": {"type": "string"},
            "kind": {"enum": ["description", "title"], "default": "title"},
            "deep": {"type": "object", "properties": {"title": {"type": "integer"}}, "required": ["title"]},
        },
        "required": ["description"],
        "additionalProperties": False,
    }
    assert found.returns == {"type": "object", "title": "hotel", "properties": {"id": {"type": "string"}}}
    assert terse(found) == found
    odd: Any = {"properties": ["x", {"description": 1}], "items": None}
    assert terse(Tool(name="b", parameters=odd)).parameters == {"properties": ["x", {}], "items": None}


# Whole runs ----------------------------------------------------------------------------------


def chance(sample: Sample) -> Mapping[str, float]:
    """Reads nothing well behind a failed exchange; half of its values are wrong."""
    inside = str(sample.traits.get("ladder", "")).split("+")
    return {"unparsable": 0.5 * ("history" not in inside), "wrong_value": 0.25}


def recipe(**more: Any) -> DiagnoseRecipe:
    return DiagnoseRecipe(**{"model": "scripted", "source": "toolworld:full", "probe": "ladder", "n": 12, **more})


def test_what_was_planted_is_read_from_a_run_and_read_again(tmp_path: Path) -> None:
    wanted = recipe(subtask="full,parallel,slots")
    run = diagnose(wanted, tmp_path / "a", model=Planted(chance))
    found = [r for r in readings(run) if r.probe == "ladder"]
    names, slots = pick(found, "shapley", subtask="all", rung="names"), pick(found, "shapley", subtask="slots")
    assert names is not None
    assert slots is not None
    assert slots.by["rung"] != "retrieval"  # its functions are given
    assert pick(found, "shapley", subtask="all", rung="syntax").by["how"] == "recovered"
    for rung, true in (("history", 0.5), ("values", 0.25), ("plan", 0.0)):
        row = pick(found, "shapley", subtask="all", rung=rung)
        assert row is not None
        assert row.low <= true <= row.high
    history, plan = (pick(found, "shapley", subtask="all", rung=r) for r in ("history", "plan"))
    assert history.low > plan.high
    for part in ("all", "full", "parallel", "slots"):
        shares = [r.value for r in found if r.name == "shapley" and r.by["subtask"] == part]
        lost, base = pick(found, "lost", subtask=part), pick(found, "ok", subtask=part, rungs="")
        most = [r for r in found if r.name == "ok" and r.by["subtask"] == part][-1]
        assert sum(shares) == pytest.approx(lost.value)
        assert most.value - base.value == pytest.approx(lost.value)
        alone = {str(r.by["rung"]): r.value for r in found if r.name == "alone" and r.by["subtask"] == part}
        for rung, gain in alone.items():
            assert gain == pytest.approx(pick(found, "ok", subtask=part, rungs=rung).value - base.value)
        assert pick(found, "interaction", subtask=part).value == pytest.approx(lost.value - sum(alone.values()))
        assert pick(found, "left", subtask=part).value == pytest.approx(lost.value - max(alone.values()))
        assert all(r.low is None or r.low <= r.value <= r.high for r in found)

    folder = run.folder  # cut off in the middle, it is asked on and reads the same
    lines = (folder / "replies.jsonl").read_text().splitlines(keepends=True)
    (folder / "replies.jsonl").write_text("".join(lines[: len(lines) // 2]))
    for name in ("done.json", "readings.jsonl"):
        (folder / name).unlink()
    again = diagnose(wanted, tmp_path / "a", model=Planted(chance))
    assert [r for r in readings(again) if r.probe == "ladder"] == found


def test_the_additive_ladder_is_found(pool: Pool) -> None:
    able = replace(pool, abilities=replace(pool.abilities, can_constrain=True))
    asked = questions(Ladder(), "ladder", able)

    def faulty(sample: Sample) -> Mapping[str, float]:
        opened, inside = (set(str(sample.traits.get(k, "")).split("+")) for k in ("ladder_open", "ladder"))
        return additive(frozenset(opened - inside))

    found = Ladder().read(put(Planted(faulty, seed=5), asked))
    game = game_of(additive, frozenset({"schema", "syntax", "history"}))
    true = values_by_orders(game, range(len(RUNGS)))
    row = pick(found, "shapley", subtask="all", rung="syntax")
    assert row.by["how"] == "constrained"
    assert row.low <= true[RUNGS.index("syntax")] <= row.high
    assert row.low > 0
    assert pick(found, "left", subtask="all").low > 0
    assert game[WHOLE] == 1.0


def test_a_pool_without_calls_reads_nothing(tmp_path: Path, pool: Pool) -> None:
    run = diagnose(recipe(subtask="decide,response", n=6), tmp_path, model=Planted(lambda _: 1.0))
    assert not [r for r in readings(run) if r.probe == "ladder"]
    bare = Pool(tuple(row for row in pool.rows))  # no traces behind it
    assert list(Ladder().samples(bare, Random(0))) == []
    assert Ladder().read([]) == []


def test_bounds(pool: Pool) -> None:
    few = [s for s in Ladder().samples(pool, Random(0)) if s.traits["ladder"] == ""]
    counts = {name: sum(s.subtask == name for s in few) for name in ALL}
    assert max(counts.values()) <= MOST
    assert min(counts.values()) >= 6


# The panel -----------------------------------------------------------------------------------


def rows(shift: float = 0.0, name: str = "full") -> list[Reading]:
    out = [reading("ladder", "ok", (0.4, 0.35, 0.45), 90, subtask=p, rungs="") for p in ("all", name)]
    for part in ("all", name):
        out.append(reading("ladder", "lost", (0.5, 0.4, 0.6), 90, subtask=part))
        for rung, value in (("names", 0.3), ("values", 0.15), ("plan", 0.05)):
            figure = (value - shift, value - shift - 0.06, value - shift + 0.06)
            out.append(reading("ladder", "shapley", figure, 90, subtask=part, rung=rung))
            out.append(reading("ladder", "alone", figure, 90, subtask=part, rung=rung))
        out.append(reading("ladder", "left", (0.2, 0.1, 0.3), 90, subtask=part, rung="names"))
        out.append(reading("ladder", "interaction", (0.1, -0.1, 0.3), 90, subtask=part))
        out.append(reading("ladder", "ok", (0.9, 0.85, 0.95), 90, subtask=part, rungs="names+values+plan"))
        out.append(reading("ladder", "sham", (0.0, -0.02, 0.02), 90, subtask=part))
    return out


def test_the_panel_names_the_breakpoint() -> None:
    drawn = str(Panel().draw(rows()))
    assert "The largest share is that of <code>names</code>" in drawn
    assert "still leaves" in drawn
    assert "not shown" in drawn  # that they hang together
    bars = [(float(a), float(b)) for a, b in re.findall(r'class="bar" x="([\d.]+)%" y="30%" width="([\d.]+)%"', drawn)]
    assert bars == [(0.0, 40.0), (40.0, 30.0), (70.0, 15.0), (85.0, 5.0), (0.0, 90.0)]  # one begins where one ends
    assert "No single axis is shown" in str(Panel().draw(rows(shift=0.4)))
    assert Panel().draw([]) is None
    assert Panel().draw([r for r in rows() if r.name != "shapley"]) is None


def test_hostile_names_are_inert() -> None:
    bad = '<script>alert(1)</script>"\u202e'
    drawn = str(
        Panel().draw([*rows(name=bad), reading("ladder", "shapley", (0.9, 0.8, 1.0), 9, subtask="all", rung=bad)])
    )
    assert "<script" not in drawn
    assert "\u202e" not in drawn
    assert "&lt;script" in drawn


# Public data ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["toolworld:micro", "bfcl:bfcl_v4", "sgd:sgd", "nestful:nestful_a"])
def test_who_makes_no_mistake_loses_nothing(name: str, request: pytest.FixtureRequest) -> None:
    source, _, folder = name.partition(":")
    spec = name if source == "toolworld" else f"{source}:{request.getfixturevalue('shared_data') / folder}"
    asked = questions(Ladder(), "ladder", cut(spec, ALL, 3, can_constrain=True))
    found = Ladder().read(put(Planted(lambda _: 1.0), asked))
    assert found
    assert all(r.value == 1.0 for r in found if r.name == "ok")
    assert all(r.value == pytest.approx(0) for r in found if r.name not in ("ok", "applies"))

"""Reliability: pass@k and pass^k against their definitions, and the probe against doubles of known rates."""

from __future__ import annotations

from itertools import combinations
from math import comb
from pathlib import Path
from random import Random

import numpy as np
import pytest
from benchmarks._planting import Planted, cut, diagnosed, pick
from benchmarks._plants_reliability import rate

from callgrain.core import stats
from callgrain.core.types import Reading
from callgrain.panels.reliability import Reliability as Panel
from callgrain.probes import _votes
from callgrain.probes._calibration import bounded_mean
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings
from callgrain.probes._votes import DRAWS, ITEMS, chosen
from callgrain.probes.confidence import Confidence
from callgrain.probes.reliability import Reliability, pass_hat

NASTY = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\u202etxt.exe")


def test_pass_hat_is_the_share_of_subsets_that_are_all_right() -> None:
    for right in range(DRAWS + 1):
        drawn = [True] * right + [False] * (DRAWS - right)
        for k in (1, 2, 4, 8):
            subsets = list(combinations(drawn, k))
            assert pass_hat(k, right, DRAWS) == pytest.approx(sum(map(all, subsets)) / len(subsets))
            assert stats.pass_at(k, right, DRAWS) == pytest.approx(sum(map(any, subsets)) / len(subsets))
            assert pass_hat(k, right, DRAWS) == pytest.approx(comb(right, k) / comb(DRAWS, k))


def test_pass_hat_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    for p in (0.3, 0.9):
        found = [pass_hat(4, int(right), DRAWS) for right in rng.binomial(DRAWS, p, 20_000)]
        assert np.mean(found) == pytest.approx(p**4, abs=0.005)


def test_the_interval_of_a_bounded_mean_holds_the_truth() -> None:
    rng = np.random.default_rng(1)
    clusters = [str(n) for n in range(ITEMS)]
    held = 0
    for _ in range(400):
        rights = rng.binomial(DRAWS, rng.beta(2, 1, ITEMS))
        _, low, high = bounded_mean([pass_hat(4, int(r), DRAWS) for r in rights], clusters, 1 / DRAWS)
        assert low is not None
        assert high is not None
        held += low <= 1 / 3 <= high  # the fourth moment of Beta(2, 1) is 2 / 6
    assert 0.92 <= held / 400 <= 0.985
    assert bounded_mean([1.0] * 9, clusters[:9], 1.0) == pytest.approx(
        stats.clustered_share([True] * 9, clusters[:9]), abs=0.06
    )
    assert bounded_mean([0.5], ["a"], 0.1) == (0.5, None, None)
    wide = bounded_mean([0.0, 0.0, 1.0, 1.0] * 5, list("abcd") * 5, 0.1)
    narrow = bounded_mean([0.0, 0.0, 1.0, 1.0] * 5, [str(n) for n in range(20)], 0.1)
    assert wide[2] - wide[1] > narrow[2] - narrow[1]  # type: ignore[operator] # limits are there


@pytest.mark.parametrize("two_kinds", [False, True])
def test_planted_rates_are_found(two_kinds: bool) -> None:
    pool = cut("toolworld:full", ("names", "full"), 24)
    chance = rate if two_kinds else (lambda _: 0.85)
    rates = np.array([chance(sample) for _, sample in chosen(pool, ITEMS)])
    found = diagnosed(Reliability(), "reliability", pool, Planted(chance, seed=3))
    for k in (1, 2, 4, 8):
        for name, truth in (("pass_at", (1 - (1 - rates) ** k).mean()), ("pass_hat", (rates**k).mean())):
            row = pick(found, name, k=k)
            assert row is not None
            assert row.low is not None
            assert row.high is not None
            assert row.low <= truth <= row.high
            assert row.n == len(rates)
    same = pick(found, "identical", what="verdict")
    assert same is not None
    assert same.value is not None
    assert same.value == pytest.approx((rates**8 + (1 - rates) ** 8).mean(), abs=0.2)
    gap = pick(found, "gap", k=4)
    assert gap is not None
    assert gap.low is not None
    assert gap.low <= (rates**4).mean() - rates.mean() ** 4 <= (gap.high or 0)
    assert (gap.low > 0) == two_kinds
    last = pick(found, "gap", k=8)
    assert last is not None
    assert ("again and again" in str(Panel().draw(found))) == ((last.low or 0) > 0)


def test_an_even_double_is_the_same_each_time_in_verdict_and_call() -> None:
    found = diagnosed(Reliability(), "reliability", cut("toolworld:full", ("full",), 12), Planted(lambda _: 1.0))
    for what in ("verdict", "call"):
        same, pairs = pick(found, "identical", what=what), pick(found, "agreement", what=what)
        assert same is not None
        assert pairs is not None
        assert (same.value, pairs.value) == (1.0, pytest.approx(1.0))


def test_both_probes_ask_the_same_draws_once_and_a_run_resumes_to_the_same(tmp_path: Path) -> None:
    pool = cut("toolworld:full", ("full",), 6)
    ours, theirs = Reliability().samples(pool, Random(0)), Confidence().samples(pool, Random(1))
    assert [s.key for s in ours] == [s.key for s in theirs if "draw" in s.traits]

    def recipe() -> DiagnoseRecipe:
        return DiagnoseRecipe(
            model="planted", source="toolworld:full", subtask="full", probe="reliability,confidence", n=6
        )

    run = diagnose(recipe(), tmp_path, model=Planted(lambda _: 0.7))
    assert len(list(run.rows("replies"))) == 6 + 6 * DRAWS
    found = [r for r in readings(run) if r.probe == "reliability"]
    once = pick(found, "pass_hat", k=1)
    assert once is not None
    assert once.n == 6
    (run.folder / "done.json").unlink()
    lines = (run.folder / "replies.jsonl").read_bytes().splitlines(keepends=True)
    (run.folder / "replies.jsonl").write_bytes(b"".join(lines[:20]))
    again = diagnose(recipe(), tmp_path, model=Planted(lambda _: 0.7))
    assert [r for r in readings(again) if r.probe == "reliability"] == found


def test_nothing_is_read_where_nothing_can_be_made() -> None:
    pool = cut("toolworld:full", ("response",), 4)
    assert list(Reliability().samples(pool, Random(0))) == []
    assert diagnosed(Reliability(), "reliability", pool, Planted(lambda _: 0.5)) == []
    assert list(Reliability().samples(list(pool), Random(0))) == []
    assert Panel().draw([]) is None


def test_draws_that_do_not_all_count_are_left_out() -> None:
    pool = cut("toolworld:full", ("full",), 3)
    from benchmarks._planting import put, questions

    graded = put(Planted(lambda _: 1.0), questions(Reliability(), "reliability", pool))
    assert len(_votes.items(graded, "reliability")) == 3
    short = [g for g in graded if g.sample.traits.get("draw") != 5 or g.trace != graded[0].trace]
    assert len(_votes.items(short, "reliability")) == 2


def test_the_panel_draws_curves_and_a_table_and_is_inert() -> None:
    def row(name: str, value: float, **by: str | float) -> Reading:
        return Reading(probe="reliability", name=name, value=value, low=value - 0.1, high=value, n=9, by=by)

    rows = [row("pass_hat", 0.9, k=1), row("pass_hat", 0.5, k=8), row("pass_at", 0.9, k=1), row("pass_at", 1.0, k=8)]
    for nasty in NASTY:
        rows += [row("identical", 0.5, what=nasty), row("chance", 0.4, k=8, of=nasty), row("gap", -0.02, k=8)]
    page = str(Panel().draw(rows))
    assert "not shown to differ" in page
    assert "50.0 %" in page
    assert page.count("<table") == 1
    assert "<polyline" in page
    assert "<script" not in page
    assert "<img" not in page

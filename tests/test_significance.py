"""Tests of many looks, paired tests and power: against brute force, enumeration and simulation."""

from __future__ import annotations

import json
from itertools import product
from math import comb
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from callgrain.cli.main import app_for
from callgrain.core import stats
from callgrain.core.errors import BadInput
from callgrain.core.significance import (
    MOST_EXACT,
    false_discovery,
    gap_seen,
    holm,
    mcnemar,
    n_paired,
    n_unpaired,
    p_of_interval,
    widened,
)
from callgrain.core.store import Run
from callgrain.core.types import Reading
from callgrain.report._power import planned
from callgrain.report.compare import NOT_SHOWN, compare, surely, told, word, words

LAW = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PS = st.lists(st.floats(0, 1), min_size=1, max_size=12)


# paired tests --------------------------------------------------------------------------------


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (3, 3), (7, 2), (0, 9), (11, 4)])
def test_mcnemar_is_the_share_of_coin_tosses_at_least_as_far_out(gained: int, lost: int) -> None:
    n, far = gained + lost, abs(gained - lost)
    tosses = [sum(toss) for toss in product((-1, 1), repeat=n)] if n <= 12 else None
    if tosses is None:
        p = sum(comb(n, k) for k in range(n + 1) if abs(2 * k - n) >= far) / 2**n
    else:
        p = sum(abs(total) >= far for total in tosses) / len(tosses)
    assert mcnemar(gained, lost) == pytest.approx(min(1.0, p))
    assert mcnemar(gained, lost) == mcnemar(lost, gained)


def test_mcnemar_approximates_itself_where_it_is_not_worked_out() -> None:
    for gap in (10, 60, 90):
        half = MOST_EXACT // 2
        exact, near = mcnemar(half + gap, half - gap), mcnemar(half + gap + 1, half - gap)
        assert near == pytest.approx(exact, rel=0.15, abs=1e-6)
    with pytest.raises(ValueError, match="negative"):
        mcnemar(-1, 3)


# many looks ----------------------------------------------------------------------------------


@LAW
@given(PS)
def test_holm_rejects_what_stepping_down_by_hand_rejects(ps: list[float]) -> None:
    corrected = holm(ps)
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    rejected: set[int] = set()
    for rank, i in enumerate(order):
        if ps[i] > 0.05 / (len(ps) - rank):
            break
        rejected.add(i)
    near = {i for i, p in enumerate(corrected) if abs(p - 0.05) < 1e-9}  # the same product, rounded another way
    assert {i for i, p in enumerate(corrected) if p <= 0.05} - near == rejected - near
    assert all(c >= p or c == 1 for c, p in zip(corrected, ps, strict=True))
    assert all(c <= min(1.0, len(ps) * p) + 1e-12 for c, p in zip(corrected, ps, strict=True))


@LAW
@given(PS)
def test_false_discovery_rejects_what_stepping_up_by_hand_rejects(ps: list[float]) -> None:
    ordered = sorted(ps)
    most = max((k for k, p in enumerate(ordered, 1) if p <= 0.05 * k / len(ps)), default=0)
    qs = false_discovery(ps)
    near = sum(abs(q - 0.05) < 1e-9 for q in qs)
    assert abs(sum(q <= 0.05 for q in qs) - most) <= near
    assert all(q >= p - 1e-12 for q, p in zip(qs, ps, strict=True))
    assert all(q <= h + 1e-12 for q, h in zip(qs, holm(ps), strict=True))


@LAW
@given(PS, st.randoms(use_true_random=False))
def test_a_correction_does_not_hang_on_the_order(ps: list[float], rng: Random) -> None:
    order = rng.sample(range(len(ps)), len(ps))
    for correct in (holm, false_discovery):
        assert [correct(ps)[i] for i in order] == pytest.approx(correct([ps[i] for i in order]))


def test_a_family_without_differences_cries_wolf_in_at_most_one_of_twenty() -> None:
    rng = Random(5)
    families, alarms, plain = 600, 0, 0
    for _ in range(families):
        ps = []
        for _ in range(9):
            tosses = [rng.random() < 0.5 for _ in range(24)]
            ps.append(mcnemar(sum(tosses), 24 - sum(tosses)))
        alarms, plain = alarms + (min(holm(ps)) <= 0.05), plain + (min(ps) <= 0.05)
    assert alarms / families <= 0.05 + 2 * (0.05 * 0.95 / families) ** 0.5
    assert plain > 2 * alarms, "uncorrected, such families alarm far more often"


# intervals -----------------------------------------------------------------------------------


@LAW
@given(st.floats(-1, 1), st.floats(0.001, 0.5), st.floats(0.001, 0.5))
def test_the_p_of_an_interval_agrees_with_whether_it_holds_the_null(value: float, down: float, up: float) -> None:
    low, high = value - down, value + up
    p = p_of_interval(value, low, high)
    if min(abs(low), abs(high)) > 1e-6:
        assert (p < 0.05) == (low > 0 or high < 0)
    assert p == pytest.approx(p_of_interval(-value, -high, -low))
    assert p_of_interval(value, value, value) == 1.0 or value == 0


@LAW
@given(st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 0.5), st.integers(1, 40))
def test_widening_is_what_bonferroni_on_the_p_would_say(value: float, down: float, up: float, looks: int) -> None:
    _, low, high = widened((value, value - down, value + up), looks)
    assert low <= value - down + 1e-12
    assert high >= value + up - 1e-12
    if min(abs(low), abs(high)) > 1e-6 and min(down, up) > 1e-3:
        corrected = looks * p_of_interval(value, value - down, value + up)
        assert (low > 0 or high < 0) == (corrected < 0.05)
    assert widened((value, value - down, value + up), 1) == pytest.approx((value, value - down, value + up))


def test_combined_is_newcombe_for_two_shares_and_none_where_a_part_is() -> None:
    one, other = stats.share(56, 70), stats.share(48, 80)
    assert stats.combined([(1, one), (-1, other)]) == pytest.approx(stats.difference((56, 48), (70, 80)))
    assert stats.combined([(0.5, one), (0.5, one)])[0] == pytest.approx(0.8)
    narrow = stats.combined([(0.5, one), (0.5, one)])
    assert narrow[2] - narrow[1] == pytest.approx((one[2] - one[1]) / 2**0.5)
    assert stats.combined([]) == (None, None, None)
    assert stats.combined([(1, one), (1, (None, None, None))]) == (None, None, None)
    assert stats.combined([(1, one), (1, (0.5, None, None))]) == (pytest.approx(1.3), None, None)


@LAW
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=60))
def test_a_clustered_share_is_never_narrower_than_of_independent_items(items: list[tuple[int, bool]]) -> None:
    hits, clusters = [h for _, h in items], [str(c) for c, _ in items]
    value, low, high = stats.clustered_share(hits, clusters)
    plain = stats.share(sum(hits), len(hits))
    assert value == pytest.approx(plain[0])
    if len(set(clusters)) < 2:
        assert (low, high) == (None, None)
    else:
        assert 0 <= low <= value + 1e-12
        assert value - 1e-12 <= high <= 1
        assert high - low >= plain[2] - plain[1] - 1e-9
    again = stats.clustered_share(hits * 2, clusters * 2)
    if low is not None and 0 < value < 1 and len(set(clusters)) == len(items):
        assert again[2] - again[1] >= high - low - 1e-9, "asking each twice shows nothing more"


def test_the_t_quantile_is_students() -> None:
    t = pytest.importorskip("scipy.stats").t
    for degrees in (1, 2, 3, 4, 5, 6, 10, 30, 200):
        assert stats.t_quantile(degrees) == pytest.approx(t.ppf(0.975, degrees), rel=0.011)


def _share_of(groups: list[list[bool]]) -> float | None:
    found = [hit for group in groups for hit in group]
    return sum(found) / len(found) if found else None


def test_the_bootstrap_over_few_traces_covers() -> None:
    held = 0
    for run in range(300):
        rng = Random(run)
        groups = []
        for _ in range(14):
            p = rng.betavariate(2.8, 1.2)
            groups.append([rng.random() < p for _ in range(3)])
        _, low, high = stats.bootstrap(groups, _share_of, draws=200, seed=run)
        held += low is not None and low <= 0.7 <= high
    assert 0.925 <= held / 300 <= 0.985


def test_the_bootstrap_says_nothing_where_it_knows_nothing() -> None:
    assert stats.bootstrap([[True]] * 7, _share_of) == (1.0, None, None), "too few groups"
    assert stats.bootstrap([[True]] * 30, _share_of) == (1.0, None, None), "no spread"
    assert stats.bootstrap([[]] * 30, _share_of) == (None, None, None)
    mostly = [[True]] + [[]] * 29
    assert stats.bootstrap(mostly, _share_of)[1:] == (None, None), "most draws have no value"
    groups = [[True, False], [True]] * 8
    assert stats.bootstrap(groups, _share_of, seed=3) == stats.bootstrap(groups, _share_of, seed=3)


# power ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gap", "discordant"), [(0.1, 0.3), (0.05, 0.1), (0.2, 0.3)])
def test_n_paired_gives_the_power_that_it_promises(gap: float, discordant: float) -> None:
    n, rng, shown = n_paired(gap, discordant), Random(11), 0
    gained = (discordant + gap) / 2
    for _ in range(400):
        draws = [rng.random() for _ in range(n)]
        ups, downs = sum(d < gained for d in draws), sum(gained <= d < discordant for d in draws)
        z2 = (ups - downs) ** 2 / max(1, ups + downs)
        shown += z2 > stats.Z**2
    assert 0.72 <= shown / 400 <= 0.93
    assert n_paired(gap, discordant, power=0.9) > n
    assert n_paired(gap, discordant, alpha=0.01) > n


@LAW
@given(st.integers(20, 5000), st.floats(0.02, 0.9))
def test_the_gap_that_n_items_show_needs_no_more_than_n(n: int, discordant: float) -> None:
    gap = gap_seen(n, discordant)
    assert 0 < gap <= discordant
    if gap < discordant:
        assert n_paired(gap, discordant) <= n
        assert n_paired(gap * 0.98, discordant) >= n


def test_what_cannot_be_is_refused() -> None:
    for gap, discordant in ((0.3, 0.2), (0.0, 0.2), (0.1, 1.2)):
        with pytest.raises(ValueError, match="does not go with"):
            n_paired(gap, discordant)
    with pytest.raises(ValueError, match="no share"):
        n_unpaired(0.0)
    assert n_unpaired(0.1, 0.5) > n_paired(0.1, 0.3), "pairs need fewer"


# comparisons ---------------------------------------------------------------------------------


def run_of(folder: Path, oks: dict[str, list[bool]], more: list[Reading] | None = None) -> Run:
    run = Run(folder)
    run.write("recipe", {"source": "toolworld"})
    rows, found = [], list(more or [])
    for subtask, values in oks.items():
        figure = stats.share(sum(values), len(values))
        found.append(
            Reading(
                probe="subtask", name="ok", value=figure[0], low=figure[1], high=figure[2], n=len(values),
                by={"subtask": subtask},
            )
        )  # fmt: skip
        for i, ok in enumerate(values):
            verdict = {"state": "graded", "faults": [] if ok else [{"kind": "wrong_value"}]}
            rows.append({"key": f"{subtask}-{i}", "subtask": subtask, "ok": ok, "verdict": verdict})
    run.replace_rows("verdicts", rows)
    run.replace_rows("readings", (json.loads(r.model_dump_json()) for r in found))
    run.write("done", {})
    return run


def test_a_comparison_is_corrected_and_says_what_n_it_would_take(tmp_path: Path) -> None:
    names = [f"s{i}" for i in range(9)]
    old = run_of(tmp_path / "a", {name: [True] * 40 + [False] * 20 for name in names})
    shift = {name: [True] * 40 + [False] * 20 for name in names}
    shift["s0"] = [True] * 60  # 20 gained, none lost
    shift["s1"] = [True] * 47 + [False] * 13  # 7 gained: shown alone, not among nine
    found = compare(old, run_of(tmp_path / "b", shift), points=3)
    tests = {str(r.by["subtask"]): r for r in found if r.name == "test"}
    ps = [mcnemar(20, 0), mcnemar(7, 0), *[1.0] * 7]
    assert [tests[n].by["p"] for n in names] == pytest.approx(ps)
    assert [tests[n].value for n in names] == pytest.approx(holm(ps))
    assert tests["s0"].n == 20
    alone = next(r for r in found if r.name == "ok_difference" and r.by["subtask"] == "s1")
    assert word(alone) == "better"
    assert words(found) == {"s0": "better", **dict.fromkeys(names[1:], NOT_SHOWN)}
    needed = next(r for r in found if r.name == "n_needed" and r.by == {"subtask": "s1", "points": 3.0, "of": "asked"})
    assert needed.value == n_paired(0.03, 8 / 62)
    assert needed.low <= needed.value <= needed.high
    seen = next(r for r in found if r.name == "n_needed" and r.by["subtask"] == "s1" and r.by["of"] == "observed")
    assert seen.value < needed.value
    lines = told(found, 3)
    assert lines[0] == "s0         better"
    assert lines[1].startswith(f"s1         {NOT_SHOWN}; n needed to see 3 points: {needed.value:,.0f} [")


def test_one_run_says_how_many_items_a_comparison_would_take(tmp_path: Path) -> None:
    run = run_of(tmp_path / "a", {"nest": [True] * 30 + [False] * 30, "names": [True] * 60})
    found = {(r.name, r.by["subtask"]): r for r in planned(run, 3)}
    nest = found["n_needed", "nest"]
    assert (nest.low, nest.value, nest.high) == tuple(n_paired(0.03, d) for d in (0.03, 0.25, 0.5))
    assert found["gap_seen", "nest"].value == pytest.approx(gap_seen(60, 0.25))
    assert found["n_needed", "names"].value < nest.value, "where nearly all is right, two models part less"


def test_what_probes_read_is_compared_and_corrected_over_all_of_it(tmp_path: Path) -> None:
    def readings(value: float) -> list[Reading]:
        steady = [
            Reading(probe="density", name="ok", value=0.5, low=0.4, high=0.6, n=90, by={"axis": "tools", "load": k})
            for k in range(30)
        ]
        moved = Reading(
            probe="density", name="D50", value=value, low=value - 1, high=value + 1, n=90, by={"axis": "tools"}
        )
        return [moved, *steady, Reading(probe="cost", name="prompts", value=value, low=0, high=9, n=1)]

    old = run_of(tmp_path / "a", {"nest": [True] * 9}, readings(8))
    new = run_of(tmp_path / "b", {"nest": [True] * 9}, readings(20))
    found = [r for r in compare(old, new) if r.name == "reading_difference"]
    assert len(found) == 31, "costs are no figures of the model"
    (moved,) = surely(found)
    assert moved.by == {"axis": "tools", "probe": "density", "reading": "D50"}
    assert (moved.value, moved.low, moved.high) == pytest.approx((12, 12 - 2**0.5, 12 + 2**0.5))
    # One of thirty-one that alone would be shown is not among so many.
    near = moved.model_copy(update={"value": 1.0, "low": 0.1, "high": 1.9})
    assert surely([near]) == [near]
    assert surely([near, *[r for r in found if r is not moved]]) == []
    assert told(compare(old, new), 3)[-1].startswith("30 of 31")


def test_the_verb_plans_with_one_run_and_compares_with_two(tmp_path: Path) -> None:
    one = run_of(tmp_path / "a", {"nest": [True] * 30 + [False] * 30})
    other = run_of(tmp_path / "b", {"nest": [True] * 31 + [False] * 29})
    app, asked = app_for("compare"), ["compare", str(one.folder)]
    planning = CliRunner().invoke(app, [*asked, "--points", "5"])
    assert planning.exit_code == 0, planning.output
    assert f"n needed to see 5 points: {n_paired(0.05, 0.25):,}" in planning.stdout
    assert planning.stdout.rstrip().endswith(str(one.folder))
    compared = CliRunner().invoke(app, [*asked, str(other.folder)])
    assert "no difference shown; n needed to see 3 points" in compared.stdout
    assert compared.stdout.rstrip().endswith(str(other.folder))
    told_by_machine = CliRunner().invoke(app, [*asked, "--json"])
    assert {json.loads(line)["name"] for line in told_by_machine.stdout.splitlines()} == {"n_needed", "gap_seen"}
    with pytest.raises(BadInput, match="no difference of shares"):
        CliRunner().invoke(app, [*asked, "--points", "0"], catch_exceptions=False)

"""Confidence: scores out of back ends, slots, calibration and votes, and what the probe finds of what was planted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest
from benchmarks._planting import Planted, cut, diagnosed, pick
from benchmarks._plants_confidence import SHARP, Always, N, drawn, truths
from tests.faulty import SCORED, serving

from callgrain.core.types import Call, Message, Prompt, Reading, Reply, Sample, Sampling, Tool
from callgrain.dialects.compact import Compact
from callgrain.dialects.json import JsonDialect
from callgrain.models.remote import Remote
from callgrain.models.tiny import Tiny
from callgrain.panels.confidence import Confidence as Panel
from callgrain.probes import _votes
from callgrain.probes._calibration import (
    Binned,
    Ranked,
    best_aurc,
    counted,
    cross_fitted,
    folds_of,
    isotonic,
)
from callgrain.probes._confidence_scores import ranked, stated, thresholds
from callgrain.probes._confidence_slots import CERTAIN, scores, slots, worst
from callgrain.probes._confidence_votes import flipped
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings
from callgrain.probes._pool import Pool
from callgrain.probes.confidence import Confidence

NASTY = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\u202etxt.exe", "{{7*7}}")
TURN = Message(calls=(Call(name="look_up", arguments={"city": "Bonn", "n": 7}), Call(name="sum", arguments={})))


# scores out of back ends ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return Tiny("")


def micro(n: int = 4, *subtasks: str) -> Pool:
    return cut("toolworld:micro", subtasks or ("slots", "decide"), n)


def with_scores(pool: Pool, **more: object) -> list[Prompt]:
    sampling = Sampling(scores=True, max_tokens=64)
    return [s.prompt.model_copy(update={"sampling": sampling, **more}) for s in pool]


def test_a_local_model_gives_scores_only_where_they_are_asked_for(tiny: Tiny) -> None:
    pool = micro()
    scored = tiny.answer(with_scores(pool))
    plain = tiny.answer([s.prompt.model_copy(update={"sampling": Sampling(max_tokens=64)}) for s in pool])
    assert [r.text for r in scored] == [r.text for r in plain]
    assert all(r.margins is None and r.entropies is None for r in plain)
    for reply in scored:
        assert reply.tokens
        assert reply.logprobs
        assert reply.margins
        assert reply.entropies
        assert len(reply.tokens) == len(reply.margins) == len(reply.entropies) == len(reply.logprobs)
        for margin, entropy, logprob in zip(reply.margins, reply.entropies, reply.logprobs, strict=True):
            assert margin is not None
            assert margin >= 0
            # Greedy: the best token was taken, and what is left of the mass is at least what its margin leaves.
            assert logprob <= -math.log1p(math.exp(-margin)) + 1e-4
            assert entropy >= max(0.0, -math.exp(logprob) * logprob - 1e-5)


def test_forced_tokens_have_no_margin_and_no_entropy(tiny: Tiny) -> None:
    pytest.importorskip("llguidance")
    for reply in tiny.answer(with_scores(micro(6), constrain=True)):
        assert reply.margins
        assert reply.entropies
        assert reply.logprobs
        forced = [n for n, margin in enumerate(reply.margins) if margin is None]
        assert all(reply.entropies[n] == 0.0 and reply.logprobs[n] == 0.0 for n in forced)
        assert len(forced) >= reply.usage["forced_tokens"]
    assert any(None in (r.margins or ()) for r in tiny.answer(with_scores(micro(6), constrain=True)))


def ask(text: str, **sampling: object) -> Prompt:
    return Prompt(messages=(Message(role="user", text=text),), sampling=Sampling.model_validate(sampling))


def test_an_endpoints_likeliest_tokens_become_scores() -> None:
    with serving() as faulty:
        model = Remote(f"m@{faulty.url}", dialect="compact")
        reply, plain = model.answer([ask("fault=scored", scores=True), ask("fault=scored")])
    assert reply.message == Message(calls=(Call(name="look_up", arguments={"n": 7}),))
    margins = [9999.0 if margin is None else margin for _, margin in SCORED]
    assert reply.margins == pytest.approx(margins)
    p = 1 / (1 + math.exp(-SCORED[1][1]))
    assert reply.entropies is not None
    assert reply.entropies[1] == pytest.approx(-(p * math.log(p) + (1 - p) * math.log(1 - p)))
    assert (plain.margins, plain.tokens) == (None, None)
    assert [(s.kind, s.path, s.tokens) for s in slots(reply)] == [
        ("decision", "", (0,)), ("name", "0.name", (1, 2)), ("value", "0.n", (4,))
    ]  # fmt: skip
    assert (scores(reply) or {})["slot"] == pytest.approx(0.25)


def test_an_endpoint_that_refuses_scores_answers_without_them() -> None:
    with serving() as faulty:
        model = Remote(f"m@{faulty.url}", dialect="compact", retries=2)
        replies = model.answer([ask(f"fault=no_scores {n}", scores=True) for n in range(5)])
        assert all(r.failure is None and r.message and r.margins is None for r in replies)
        assert faulty.books.requests == 6  # one was refused, and no other asked again


# slots ------------------------------------------------------------------------------------------


def replied(tokens: Sequence[str], text: str, message: Message, margins: Sequence[float | None]) -> Reply:
    return Reply(
        text=text,
        message=message,
        tokens=tuple(tokens),
        logprobs=(-0.1,) * len(tokens),
        margins=tuple(margins),
        entropies=(0.1,) * len(tokens),
    )


def pieces(text: str, size: int) -> list[str]:
    return [text[n : n + size] for n in range(0, len(text), size)]


BYTES = {" ": "Ġ", "\n": "Ċ", '"': '"'}


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("dialect", [Compact(), JsonDialect()], ids=["compact", "json"])
@pytest.mark.parametrize("spelling", ["said", "bytes", "sentence"])
def test_slots_cover_names_and_values_in_any_spelling_of_tokens(dialect: object, size: int, spelling: str) -> None:
    text = dialect.write(TURN)  # type: ignore[attr-defined]
    tokens = pieces(text, size)
    if spelling == "bytes":
        tokens = ["".join(BYTES.get(c, c) for c in token) for token in tokens]
    if spelling == "sentence":
        tokens = [token.replace(" ", "▁") for token in tokens]
    reply = replied([*tokens, "<end>"], text, TURN, [1.0] * (len(tokens) + 1))
    found = slots(reply)
    parts = {"0.name": "look_up", "0.city": "Bonn", "0.n": "7", "1.name": "sum"}
    chosen = {slot.path: slot for slot in found if slot.kind in ("name", "value")}
    assert set(chosen) <= set(parts)
    for path, slot in chosen.items():
        start = text.index(parts[path])
        stands = [n for n in slot.tokens if n * size < start + len(parts[path]) + 1 and (n + 1) * size > start - 1]
        assert list(slot.tokens) == stands  # every token of a slot touches its part, or the quotes around it
        assert size > 2 or len(slot.tokens) * size >= len(parts[path])
    used = [n for slot in found for n in slot.tokens]
    assert len(used) - len(set(used)) <= 1  # the token that chose to call may begin the name as well
    assert set(chosen) == set(parts) or size > 2  # a name of three letters may lie in no token of its own
    assert found[0].kind == "decision"
    assert found[-1].kind == "end"


def test_letters_that_lie_in_several_tokens_are_put_together() -> None:
    message = Message(calls=(Call(name="f", arguments={"a": "Köln"}),))
    reply = replied(["@f", "Ġa", "=", "K", "Ã", "¶", "ln"], "@f a=Köln", message, [9, 9, 9, 9, 2, 1, 9])
    assert [s.tokens for s in slots(reply) if s.kind == "value"] == [(3, 5, 6)]
    least = worst(reply)
    assert least is not None
    assert (least.kind, least.path) == ("value", "0.a")


def test_punctuation_and_forced_tokens_do_not_make_a_call_unsure() -> None:
    message = Message(calls=(Call(name="f", arguments={"a": 7}),))
    text = '[{"name": "f", "arguments": {"a": 7}}]'
    tokens = ["[{", '"name', '": "', "f", '", "arguments": {"', "a", '": ', "7", "}}]"]
    margins: list[float | None] = [8, 0.01, 0.02, 5, 0.03, 0.04, None, 3, 6]
    assert (scores(replied(tokens, text, message, margins)) or {})["slot"] == 3
    free: list[float | None] = [None] * 9
    assert (scores(replied(tokens, text, message, free)) or {})["slot"] == CERTAIN
    assert worst(replied(tokens, text, message, free)) is None


def test_what_does_not_fit_has_no_slots() -> None:
    assert slots(replied(["x", "y"], "@f a=7", Message(calls=(Call(name="f", arguments={"a": 7}),)), [1, 1])) == ()
    assert slots(Reply(text="x", message=Message(text="x"))) == ()
    assert scores(Reply(text="x", message=Message(text="x"), tokens=("x",), logprobs=(-1.0,))) is None
    torn = Reply(
        text="x", message=Message(text="x"), tokens=("x",), logprobs=(-1.0,), margins=(1.0, 2.0), entropies=(0.0,)
    )
    assert scores(torn) is None


def test_a_text_is_scored_where_it_chose_to_be_one() -> None:
    reply = replied(["ASK", "item", "<|end|>"], "ASK item", Message(text="ASK item"), [4.0, 0.1, 9.0])
    assert [s.kind for s in slots(reply)] == ["decision"]
    assert (scores(reply) or {})["slot"] == 4.0


# calibration ------------------------------------------------------------------------------------


def test_areas_and_ties_agree_with_brute_force() -> None:
    rng = np.random.default_rng(0)
    values, right = np.round(rng.normal(size=60), 1), rng.random(60) < 0.6
    order = Ranked(values, right)
    seen = [np.cumsum(~right[np.lexsort((rng.random(60), -values))]) / np.arange(1, 61) for _ in range(3000)]
    assert order.aurc() == pytest.approx(np.mean(seen), abs=2e-3)
    assert order.risk(0.5) == pytest.approx(np.mean(seen, axis=0)[29], abs=5e-3)
    above = (values[right][:, None] > values[~right]).mean() + (values[right][:, None] == values[~right]).mean() / 2
    assert order.auroc() == pytest.approx(above)
    assert Ranked(right.astype(float), right).aurc() == pytest.approx(best_aurc(int((~right).sum()), 60))
    assert Ranked(np.zeros(60), right).aurc() == pytest.approx(1 - right.mean())
    weights = counted([str(n // 2) for n in range(60)], 5)
    for drawn_once, area, auroc, risk in zip(
        weights, order.aurc(weights), order.auroc(weights), order.risk(0.3, weights), strict=True
    ):
        again = np.repeat(np.arange(60), drawn_once)
        one = Ranked(values[again], right[again])
        assert (area, auroc, risk) == pytest.approx((one.aurc(), one.auroc(), one.risk(0.3)))
        assert all(drawn_once[2 * n] == drawn_once[2 * n + 1] for n in range(30))  # clusters stay whole


def test_isotonic_is_monotone_and_held_out() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=300)
    right = (rng.random(300) < 1 / (1 + np.exp(-values))).tolist()
    read = isotonic(values.tolist(), right)(np.linspace(-3, 3, 50).tolist())
    assert read == sorted(read)
    assert min(read) >= 0
    assert max(read) <= 1
    clusters = [str(n // 3) for n in range(300)]
    fold = folds_of(clusters, 10)
    assert all(fold[3 * n] == fold[3 * n + 1] == fold[3 * n + 2] for n in range(100))
    noise = rng.random(300) < 0.5
    fitted = cross_fitted(values.tolist(), noise.tolist(), clusters)
    assert abs(np.corrcoef(fitted, noise)[0, 1]) < 0.2  # fitted on itself, it would follow the noise


def test_the_debiased_error_is_near_nothing_where_the_usual_one_is_not() -> None:
    rng = np.random.default_rng(2)
    plain, debiased, floors = [], [], []
    for _ in range(60):
        p = rng.uniform(0.5, 1.0, N)
        binned = Binned.of(p.tolist(), (rng.random(N) < p).tolist())
        plain.append(binned.ece())
        debiased.append(binned.debiased([str(n) for n in range(N)]))
    floors.append(binned.perfect()[0])
    assert abs(np.mean(debiased)) < 0.008
    assert np.mean(plain) > 0.02
    assert np.mean(plain) == pytest.approx(floors[0], abs=0.01)
    assert min(binned.bins.count(b) for b in set(binned.bins)) >= 80
    assert len(set(Binned.of([0.5] * N, [True] * N).bins)) == 1  # equal ones are not torn apart


def test_planted_turns_are_found() -> None:
    rng = np.random.default_rng(4)
    for sharp in (1.0, SHARP):
        turns, truth = drawn(1000, rng, sharp)[0], truths(sharp)
        found = [*ranked(turns), *stated(turns), *thresholds(turns)]
        for name, planted, by in (
            ("aurc", truth["slot"], {"score": "slot"}),
            ("aurc", truth["average"], {"score": "average"}),
            ("difference", truth["average"] - truth["slot"], {"score": "slot"}),
            ("ece", truth["ece"], {"score": "slot", "stage": "raw"}),
            ("ece", 0.0, {"score": "slot", "stage": "calibrated"}),
        ):
            row = pick(found, name, **by)
            assert row is not None
            assert row.low is not None
            assert row.high is not None
            assert row.low <= planted <= row.high, (sharp, name, by)
        better = pick(found, "difference", score="slot")
        assert better is not None
        assert better.by["shown"]
        assert better.by["p"] < 0.05
        kept = pick(found, "kept_ok", score="slot", target=0.9)
        assert kept is not None
        assert kept.value is not None
        assert kept.value >= 0.88
        over = pick(found, "overconfidence", score="slot", stage="raw")
        assert over is not None
        assert over.low is not None
        assert (over.low > 0) == (sharp > 1)


def test_a_threshold_nobody_reaches_is_none() -> None:
    assert Ranked([1.0] * 100, [n % 2 == 0 for n in range(100)]).threshold(0.9) is None
    assert Ranked([float(n) for n in range(100)], [n >= 40 for n in range(100)]).threshold(0.9) == pytest.approx(
        38, abs=4
    )


# votes ------------------------------------------------------------------------------------------


def sample_with(tool: Tool, subtask: str = "full") -> Sample:
    made = cut("toolworld:micro", ("full",), 1)[0]
    return made.model_copy(update={"subtask": subtask, "prompt": made.prompt.model_copy(update={"tools": (tool,)})})


def test_equal_turns_share_a_spelling_and_others_do_not() -> None:
    properties = {"n": {"type": "number"}, "unit": {"type": "string", "default": "km"}}
    sample = sample_with(Tool(name="f", parameters={"type": "object", "properties": properties}))

    def key(*calls: Call) -> str:
        return _votes.canonical(sample, Message(calls=calls))[0]

    one = key(Call(name="f", arguments={"n": 5}))
    assert one == key(Call(name="f", arguments={"unit": "km ", "n": 5.0}, label="x"))
    assert one != key(Call(name="f", arguments={"n": "5"}))
    assert one != key(Call(name="f", arguments={"n": 5, "unit": "m"}))
    a, b = Call(name="f", arguments={"n": 1}, label="a"), Call(name="f", arguments={"n": 2}, label="b")
    assert key(a, b) == key(b, a)
    assert _votes.canonical(sample, Message(calls=(a, b)))[1] != _votes.canonical(sample, Message(calls=(b, a)))[1]
    linked = Call(name="f", arguments={"n": "$a$"})
    assert (
        key(a, linked)
        == key(a.model_copy(update={"label": "z"}), Call(name="f", arguments={"n": "$z$"}))
        != key(b, linked)
    )
    assert _votes.canonical(sample, Message(text="ASK which?")) == _votes.canonical(sample, Message(text="ask what"))
    assert _votes.canonical(sample, None) == ("", "")
    names = sample_with(Tool(name="f"), "names")
    assert _votes.canonical(names, Message(calls=(a,))) == _votes.canonical(names, Message(calls=(b,)))


def said(*turns: str, weights: Sequence[float] = ()) -> list[_votes.Said]:
    own = weights or [1.0] * len(turns)
    return [_votes.Said(t, t, t == "r", w, 1) for t, w in zip(turns, own, strict=True)]


def test_votes_count_weigh_and_end_early() -> None:
    assert _votes.winner(said("w", "r", "r")).ok
    assert not _votes.winner(said("w", "r")).ok  # the first of equals
    assert _votes.winner(said("", "", "r")).ok  # what is no turn has no vote
    assert _votes.winner(said("w", "w", "r", weights=(0.1, 0.1, 0.9)), is_weighted=True).ok
    assert _votes.stopped(said(*"rrrrrrrr")) == 3
    assert _votes.stopped(said(*"rwrwrwrw")) == 8
    voted = [_votes.Voted.on(_votes.Item(str(n), str(n), "full", tuple(said(*"rrrrrwww")))) for n in range(3)]
    mean = sum(v.used for v in voted) / 3
    budget = _votes.at_budget(voted)
    low, high = sorted((voted[0].plain[math.floor(mean) - 1], voted[0].plain[math.floor(mean)]))
    assert low <= budget[0] <= high


def test_a_paired_mean_is_bonett_and_prices_for_whole_differences() -> None:
    from callgrain.core import stats

    after, before = [True, True, False, True, False, True], [False, True, True, False, False, False]
    gaps = [float(a) - float(b) for a, b in zip(after, before, strict=True)]
    assert stats.paired_mean(gaps, [str(n) for n in range(6)]) == pytest.approx(stats.paired_difference(after, before))
    twice = stats.paired_mean(gaps * 2, [str(n % 6) for n in range(12)])
    once = stats.paired_mean(gaps * 2, [str(n) for n in range(12)])
    assert twice[2] - twice[1] > once[2] - once[1]  # type: ignore[operator] # the same said twice is no more
    assert flipped([0.0] * 9, list("abcdefghi")) == 1.0
    assert flipped([1.0] * 9, list("abcdefghi")) < 0.02


# the probe --------------------------------------------------------------------------------------


def test_draws_are_spread_and_the_same_each_time() -> None:
    pool = cut("toolworld:full", ("names", "slots", "response"), 20, tier="scores")
    found = list(_votes.draws(pool))
    assert [s.key for s in found] == [s.key for s in _votes.draws(pool)]
    assert {s.subtask for s in found} == {"names", "slots"}
    assert len(found) == 40 * _votes.DRAWS
    assert len({s.key for s in found}) == len(found)
    assert all(s.prompt.sampling.scores and s.prompt.sampling.temperature > 0 for s in found)
    asked = list(Confidence().samples(pool, Random(0)))
    assert [s.traits["confidence"] for s in asked[:40]] == ["greedy"] * 40


def test_a_text_model_is_voted_on_and_its_scores_are_said_to_be_missing() -> None:
    pool = cut("toolworld:full", ("slots",), 40)
    found = diagnosed(Confidence(), "confidence", pool, Planted(lambda _: 0.7, seed=5))
    missing = pick(found, "scored")
    assert missing is not None
    assert missing.value is None
    assert missing.by["missing"] == "scores"
    gain = pick(found, "vote", rule="plurality", voters=8)
    assert gain is not None
    assert gain.low is not None
    assert gain.low > 0
    assert gain.by["shown"]
    same = diagnosed(Confidence(), "confidence", pool, Always())
    none = pick(same, "vote", rule="plurality", voters=8)
    assert none is not None
    assert none.value == pytest.approx(0.0)
    assert not none.by["shown"]
    assert not pick(found, "aurc")
    assert "nothing is said of its confidence" in str(Panel().draw(found))


def test_nothing_is_read_where_nothing_can_be_made() -> None:
    pool = cut("toolworld:full", ("response",), 4)
    assert list(Confidence().samples(pool, Random(0))) == []
    assert diagnosed(Confidence(), "confidence", pool, Planted(lambda _: 0.5)) == []
    assert Panel().draw([]) is None


class Sure(Planted):
    """A double with scores: the margin tells right from wrong, the mean log p tells nothing."""

    tier = "scores"

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        return [self._scored(prompt, reply) for prompt, reply in zip(prompts, super().answer(prompts), strict=True)]

    def _scored(self, prompt: Prompt, reply: Reply) -> Reply:
        if not prompt.sampling.scores or reply.message is None:
            return reply
        text = Compact().write(reply.message)
        is_right = reply.message.calls and all(
            call.name in {t.name for t in prompt.tools} for call in reply.message.calls
        )
        tokens = tuple(text)
        margins = tuple(3.0 + (len(text) % 5) / 10 if is_right else 0.5 for _ in tokens)
        flat = tuple(-0.1 for _ in tokens)
        return reply.model_copy(
            update={
                "text": text,
                "tokens": tokens,
                "logprobs": flat,
                "margins": margins,
                "entropies": (0.1,) * len(tokens),
            }
        )


def test_a_diagnosis_reads_scores_and_resumes_to_the_same_readings(tmp_path: Path) -> None:
    def recipe() -> DiagnoseRecipe:
        return DiagnoseRecipe(model="planted", source="toolworld:full", subtask="full,names", probe="confidence", n=30)

    model = Sure(lambda _: {"unknown_tool": 0.3})
    run = diagnose(recipe(), tmp_path, model=model)
    found = [r for r in readings(run) if r.probe == "confidence"]
    share = pick(found, "scored")
    assert share is not None
    assert share.value is not None
    assert share.value > 0.9
    slot, average = pick(found, "auroc", score="slot"), pick(found, "auroc", score="average")
    assert slot is not None
    assert average is not None
    assert slot.value is not None
    assert slot.value > 0.9
    assert average.value == pytest.approx(0.5, abs=0.15)
    better = pick(found, "difference", score="slot")
    assert better is not None
    assert better.by["shown"]
    assert (better.value or 0) > 0
    (run.folder / "done.json").unlink()
    (run.folder / "readings.jsonl").unlink()
    again = diagnose(recipe(), tmp_path, model=model)
    assert [r for r in readings(again) if r.probe == "confidence"] == found
    page = str(Panel().draw(found))
    assert "ranks right before wrong better" in page
    assert "<svg" in page
    assert "AUROC" in page


def test_hostile_words_in_readings_are_inert() -> None:
    for nasty in NASTY:
        rows = [
            Reading(probe="confidence", name="vote_ok", value=0.5, n=3, by={"rule": nasty, "voters": 8}),
            Reading(probe="confidence", name="scored", value=None, n=3, by={"missing": nasty}),
        ]
        page = str(Panel().draw(rows))
        assert "<script" not in page
        assert "<img" not in page
        assert "\u202e" not in page

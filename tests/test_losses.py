"""Preference losses: numbers worked out with `math`, laws, gradients, and TRL's own on the same log-probs."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from callgrain.train._losses import LOSSES, Knobs, Pairs, Side  # noqa: E402

MARGIN_FREE = ("dpo", "cdpo", "kto", "span")


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def column(*values: float) -> Any:
    return torch.tensor(values, dtype=torch.float64)


def side(policy: float, reference: float, tokens: int, leaf: tuple[float, float, int]) -> Side:
    """One turn; `leaf` holds policy, reference and tokens of the leaves that differ."""
    return Side(
        policy=column(policy),
        tokens=column(tokens),
        reference=column(reference),
        leaf_policy=column(leaf[0]),
        leaf_reference=column(leaf[1]),
        leaf_tokens=column(leaf[2]),
    )


CHOSEN = side(-6.0, -8.0, 10, (-2.5, -3.0, 2))
REJECTED = side(-9.0, -7.0, 12, (-4.0, -1.0, 4))
PAIR = Pairs(CHOSEN, REJECTED, mismatched=column(0.5, 1.5))
# By hand: r_w = -6+8 = 2, r_l = -9+7 = -2; means -.6 and -.75; leaves .5 and -3; the rest of chosen -3.5 over 8 tokens.


def odds(mean: float) -> float:
    return mean - math.log(1 - math.exp(mean))


BY_HAND = {
    "dpo": (Knobs(0.1), -math.log(sigmoid(0.1 * 4))),
    "cdpo": (Knobs(0.1, label_smoothing=0.2), -0.8 * math.log(sigmoid(0.4)) - 0.2 * math.log(sigmoid(-0.4))),
    "ipo": (Knobs(0.5), (2 / 10 + 2 / 12 - 1) ** 2),
    "simpo": (Knobs(10, margin=0.3), -math.log(sigmoid(10 * (-0.6 + 0.75 - 0.3)))),
    "orpo": (Knobs(0.1), 0.6 - 0.1 * math.log(sigmoid(odds(-0.6) - odds(-0.75)))),
    "kto": (
        Knobs(0.1, desirable=1.5, undesirable=1.0),
        (1.5 * (1 - sigmoid(0.1 * (2 - 1))) + (1 - sigmoid(0.1 * (1 + 2)))) / 2,
    ),
    "dpo_nll": (Knobs(0.1, nll_weight=2.0), -math.log(sigmoid(0.4)) + 2 * 0.6),
    "span": (Knobs(0.1, nll_weight=2.0), -math.log(sigmoid(0.1 * 3.5)) + 2 * 3.5 / 8),
}


def loss_of(name: str, pairs: Pairs, knobs: Knobs) -> Any:
    return LOSSES[name].of(pairs, knobs)


def test_every_loss_gives_the_number_worked_out_by_hand() -> None:
    assert BY_HAND.keys() == LOSSES.keys()
    for name, (knobs, expected) in BY_HAND.items():
        assert loss_of(name, PAIR, knobs).tolist() == pytest.approx([expected], rel=1e-12), name


@pytest.mark.parametrize("name", MARGIN_FREE)
def test_turns_that_differ_in_nothing_are_a_toss_up(name: str) -> None:
    same = Pairs(CHOSEN, CHOSEN, mismatched=column(2.0))
    found = loss_of(name, same, replace(LOSSES[name].usual, nll_weight=0.0)).item()
    assert found == pytest.approx(0.5 if name == "kto" else math.log(2))
    no_slope = replace(LOSSES[name].usual, beta=0.0, nll_weight=0.0)  # beta -> 0: no pair says anything
    assert loss_of(name, PAIR, no_slope).item() == pytest.approx(0.5 if name == "kto" else math.log(2))


def test_limits() -> None:
    plain = loss_of("dpo", PAIR, Knobs(0.1))
    assert torch.equal(loss_of("cdpo", PAIR, Knobs(0.1)), plain)
    assert torch.equal(loss_of("dpo_nll", PAIR, Knobs(0.1)), plain)
    whole = (
        replace(s, leaf_policy=s.policy, leaf_reference=s.reference, leaf_tokens=s.tokens) for s in (CHOSEN, REJECTED)
    )
    assert torch.equal(loss_of("span", Pairs(*whole), Knobs(0.1, nll_weight=3.0)), plain)
    far = Pairs(side(-1.0, -2000.0, 10, (0.0, 0.0, 0)), side(-2000.0, -1.0, 10, (0.0, 0.0, 0)))
    assert loss_of("dpo", far, Knobs(1.0)).item() == 0.0
    assert loss_of("dpo", Pairs(far.rejected, far.chosen), Knobs(1.0)).item() == pytest.approx(3998.0)
    fitted = Pairs(side(-5.0, -55.0, 10, (0.0, 0.0, 0)), side(-5.0, -5.0, 7, (0.0, 0.0, 0)))
    assert loss_of("ipo", fitted, Knobs(0.1)).item() == pytest.approx(0.0)  # 50/10 - 0 = 1/(2*.1)
    below = replace(PAIR, mismatched=column(-9.0, 1.0))
    assert torch.equal(loss_of("kto", below, Knobs(0.1)), loss_of("kto", replace(PAIR, mismatched=None), Knobs(0.1)))


def test_odds_are_finite_where_a_turn_is_certain() -> None:
    for policy in (0.0, -1e-9, -1e-3, -20.0, -3000.0):
        sure = torch.tensor([policy], dtype=torch.float32, requires_grad=True)
        pairs = Pairs(replace(CHOSEN, policy=sure), REJECTED)
        found = loss_of("orpo", pairs, Knobs(0.1)).sum()
        found.backward()
        assert math.isfinite(found.item())
        assert sure.grad is not None
        assert math.isfinite(sure.grad.item())


def slopes(name: str, knobs: Knobs) -> dict[str, float]:
    """The loss's gradient by log-prob: leaves of either turn, and the rest of either turn."""
    at = {
        part: column(0.0).requires_grad_() for part in ("chosen leaf", "chosen rest", "rejected leaf", "rejected rest")
    }
    sides = [
        replace(
            s, policy=s.policy + at[f"{who} leaf"] + at[f"{who} rest"], leaf_policy=s.leaf_policy + at[f"{who} leaf"]
        )
        for who, s in (("chosen", CHOSEN), ("rejected", REJECTED))
    ]
    z = column(0.3).requires_grad_()
    loss_of(name, Pairs(*sides, mismatched=z), knobs).sum().backward()
    assert z.grad is None  # the yardstick carries no gradient
    return {part: 0.0 if x.grad is None else x.grad.item() for part, x in at.items()}


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_raises_chosen_and_lowers_rejected(name: str) -> None:
    found = slopes(name, LOSSES[name].usual)
    assert found["chosen leaf"] < 0 < found["rejected leaf"]
    if name == "span":
        assert found["rejected rest"] == 0.0
        assert found["chosen rest"] == pytest.approx(-1 / 8)  # likelihood alone: weight 1 over 8 tokens
        assert found["chosen leaf"] == pytest.approx(-0.1 * sigmoid(-0.35))
        assert found["chosen leaf"] == pytest.approx(-found["rejected leaf"])
    else:
        assert found["chosen rest"] == pytest.approx(found["chosen leaf"])
        assert found["rejected rest"] == pytest.approx(found["rejected leaf"])


def test_a_missing_reference_is_said() -> None:
    bare = Pairs(
        replace(CHOSEN, reference=None, leaf_reference=None), replace(REJECTED, reference=None, leaf_reference=None)
    )
    for name, loss in LOSSES.items():
        if loss.needs_reference:
            with pytest.raises(ValueError, match="needs the reference"):
                loss_of(name, bare, loss.usual)
        else:
            assert torch.equal(loss_of(name, bare, loss.usual), loss_of(name, PAIR, loss.usual))


# TRL's own ---------------------------------------------------------------------------------------


class Drawn:
    """Log-probs of B turns a side, token by token, with masks: what a model would have given."""

    def __init__(self, lengths: tuple[list[int], list[int]], seed: int) -> None:
        rng = torch.Generator().manual_seed(seed)
        counts = torch.tensor([*lengths[0], *lengths[1]])
        self.mask = (torch.arange(int(counts.max()))[None] < counts[:, None]).long()
        shape = self.mask.shape
        self.policy = -torch.rand(shape, generator=rng, dtype=torch.float64) * self.mask
        self.reference = -torch.rand(shape, generator=rng, dtype=torch.float64) * self.mask
        self.counts = counts.double()

    def pairs(self, mismatched: Any = None) -> Pairs:
        nothing = torch.zeros(len(self.counts) // 2, dtype=torch.float64)
        parts = zip(*(x.chunk(2) for x in (self.policy.sum(1), self.counts, self.reference.sum(1))), strict=True)
        sides = [Side(p, n, nothing, nothing, reference=r, leaf_reference=nothing) for p, n, r in parts]
        return Pairs(*sides, mismatched=mismatched)

    def model(self, which: str) -> Any:
        """What TRL calls: the forward pass of a model, whose log-probs are these."""
        drawn = getattr(self, which)
        extra = {k: torch.zeros_like(drawn) for k in ("entropy", "mean_logits")}
        found = SimpleNamespace(log_probs=drawn, is_top1=drawn > 0, **extra)
        return lambda **_: found


def theirs(trainer: str, drawn: Drawn, **settings: Any) -> float:
    """The loss that TRL's trainer computes on these log-probs, by its own method."""
    trl = pytest.importorskip("trl", reason="trl is not installed")
    accelerator = pytest.importorskip("accelerate").Accelerator(cpu=True)
    model = drawn.model("policy")
    model.training = True  # type: ignore[attr-defined]
    ids = torch.nn.functional.pad(torch.zeros_like(drawn.mask), (1, 0))
    mask = torch.nn.functional.pad(drawn.mask, (1, 0))
    asked: Any = torch.nn.Identity()
    asked.is_gradient_checkpointing = False
    host = SimpleNamespace(
        model=asked,
        ref_model=drawn.model("reference"),
        accelerator=accelerator,
        args=SimpleNamespace(gradient_checkpointing_kwargs=None),
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=False,
        f_divergence_type="reverse_kl",
        loss_weights=[1.0] * len(settings.get("loss_types", ())),
        use_weighting=False,
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
        **settings,
    )
    batch: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "completion_mask": mask}
    if trainer == "KTOTrainer":
        half = len(ids) // 2
        batch["label"] = torch.tensor([True] * half + [False] * half)
    try:
        found = getattr(trl, trainer)._compute_loss(host, model, batch, False)
    except (AttributeError, TypeError) as error:  # a version of TRL whose method reads other things
        pytest.skip(f"this trl's {trainer} is built otherwise: {error}")
    return float(found)


LENGTHS = ([5, 9, 3], [7, 4, 8])


@pytest.mark.parametrize("seed", range(3))
def test_dpo_and_ipo_are_trls(seed: int) -> None:
    drawn = Drawn(LENGTHS, seed)
    for ours, loss_type, beta in (("dpo", "sigmoid", 0.1), ("dpo", "sigmoid", 0.7), ("ipo", "ipo", 0.1)):
        expected = theirs("DPOTrainer", drawn, loss_types=[loss_type], beta=beta, label_smoothing=0.0)
        assert loss_of(ours, drawn.pairs(), Knobs(beta)).mean().item() == pytest.approx(expected, rel=1e-6)


def test_cdpo_is_the_numerator_of_trls_robust_dpo() -> None:
    drawn, e = Drawn(LENGTHS, 5), 0.2
    robust = theirs("DPOTrainer", drawn, loss_types=["robust"], beta=0.4, label_smoothing=e)
    # robust = ((1-e) L(d) - e L(-d)) / (1-2e), cdpo = (1-e) L(d) + e L(-d): both from the plain one, either way round.
    plain = theirs("DPOTrainer", drawn, loss_types=["sigmoid"], beta=0.4, label_smoothing=0.0)
    flipped = ((1 - e) * plain - (1 - 2 * e) * robust) / e
    found = loss_of("cdpo", drawn.pairs(), Knobs(0.4, label_smoothing=e)).mean().item()
    assert found == pytest.approx((1 - e) * plain + e * flipped, rel=1e-6)


def test_dpo_nll_is_trls_sum_of_two_losses() -> None:
    drawn = Drawn(([6, 6], [7, 3]), 1)  # TRL's likelihood is a mean over tokens: the same where lengths are equal
    host = {"loss_types": ["sigmoid", "sft"], "beta": 0.1, "label_smoothing": 0.0}
    pytest.importorskip("trl", reason="trl is not installed")
    expected = theirs("DPOTrainer", drawn, **host)
    found = loss_of("dpo_nll", drawn.pairs(), Knobs(0.1, nll_weight=1.0)).mean().item()
    assert found == pytest.approx(expected, rel=1e-6)


def test_simpo_orpo_and_cdpo_are_trls() -> None:
    cpo = pytest.importorskip("trl.experimental.cpo", reason="trl is not installed").CPOTrainer
    orpo = pytest.importorskip("trl.experimental.orpo", reason="trl is not installed").ORPOTrainer
    drawn = Drawn(LENGTHS, 2)
    pairs = drawn.pairs()
    device = SimpleNamespace(device=torch.device("cpu"))
    host = SimpleNamespace(alpha=0.0, accelerator=device, beta=10.0, label_smoothing=0.0)
    host.loss_type, host.simpo_gamma = "simpo", 3.0  # gamma over beta is our margin
    expected = cpo.cpo_loss(host, pairs.chosen.mean, pairs.rejected.mean)[0]
    assert torch.allclose(loss_of("simpo", pairs, Knobs(10.0, margin=0.3)), expected, rtol=1e-6)
    host.loss_type, host.beta, host.label_smoothing = "sigmoid", 0.3, 0.2  # smoothed, on ratios: cDPO
    expected = cpo.cpo_loss(host, pairs.chosen.ratio, pairs.rejected.ratio)[0]
    assert torch.allclose(loss_of("cdpo", pairs, Knobs(0.3, label_smoothing=0.2)), expected, rtol=1e-6)
    found = loss_of("orpo", pairs, Knobs(0.1)) + pairs.chosen.mean
    expected = -orpo.odds_ratio_loss(
        SimpleNamespace(accelerator=device, beta=0.1), pairs.chosen.mean, pairs.rejected.mean
    )[0]
    assert torch.allclose(found.float(), expected, rtol=1e-5)  # TRL casts to single precision


@pytest.mark.parametrize("shift", [-0.4, 0.6])
def test_kto_is_trls(shift: float) -> None:
    drawn = Drawn(LENGTHS, 3)
    mismatched = column(0.2, -0.1, 0.5) + shift
    logps = iter([mismatched, torch.zeros_like(mismatched)])
    settings = {"calculate_KL": True, "_compute_kl_logps": lambda *_: next(logps), "loss_type": "kto", "beta": 0.5}
    expected = theirs("KTOTrainer", drawn, **settings, desirable_weight=1.2, undesirable_weight=0.8)
    knobs = Knobs(0.5, desirable=1.2, undesirable=0.8)
    assert loss_of("kto", drawn.pairs(mismatched), knobs).mean().item() == pytest.approx(expected, rel=1e-6)

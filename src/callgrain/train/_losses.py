"""Preference losses as pure functions of log-probs.

All take the same noun (`Pairs`) and the same settings (`Knobs`) and give one loss a pair, so that
they can be swapped on the same pairs and held against numbers worked out by hand. None of them
knows a model. What two turns share has gradients of its own: calls in JSON share almost all of
their tokens, which is why the loss named `span` exists.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

NEAR_ONE = -1e-6
"""Greatest mean log-prob of which ORPO takes the odds: those of a certain turn are infinite."""


@dataclass(frozen=True)
class Side:
    """One side of B pairs: (B,) sums of natural log-probs over the turn's tokens, and how many those are.

    `leaf_*` are the same over the tokens of its differing leaves alone (see `span`); the other tokens
    are the rest. `reference` is None where the loss needs none.
    """

    policy: Tensor
    tokens: Tensor
    leaf_policy: Tensor
    leaf_tokens: Tensor
    reference: Tensor | None = None
    leaf_reference: Tensor | None = None

    @property
    def ratio(self) -> Tensor:
        """(B,) log-prob of the turn under the policy over that under the reference."""
        return self.policy - _given(self.reference)

    @property
    def leaf_ratio(self) -> Tensor:
        """(B,) the same over the differing leaves."""
        return self.leaf_policy - _given(self.leaf_reference)

    @property
    def mean(self) -> Tensor:
        """(B,) log-prob of a token of the turn."""
        return self.policy / self.tokens.clamp(min=1)


@dataclass(frozen=True)
class Pairs:
    """B pairs. `mismatched` (M,) holds log-ratios of turns to requests that they do not belong to: KTO's yardstick."""

    chosen: Side
    rejected: Side
    mismatched: Tensor | None = None


@dataclass(frozen=True)
class Knobs:
    """Settings of the losses; each reads those that it has."""

    beta: float
    label_smoothing: float = 0.0
    margin: float = 0.0
    nll_weight: float = 0.0
    desirable: float = 1.0
    undesirable: float = 1.0


def _given(reference: Tensor | None) -> Tensor:
    if reference is None:
        raise ValueError("this loss needs the reference's log-probs")
    return reference


def _softminus(x: Tensor) -> Tensor:
    """-log sigmoid(x), without overflow."""
    from torch.nn.functional import softplus

    return softplus(-x)


def dpo(pairs: Pairs, knobs: Knobs) -> Tensor:
    """(B,) `-log sigmoid(beta (r_w - r_l))` with r the log-ratios to the reference (2305.18290, eq. 7)."""
    return _softminus(knobs.beta * (pairs.chosen.ratio - pairs.rejected.ratio))


def cdpo(pairs: Pairs, knobs: Knobs) -> Tensor:
    """(B,) DPO where a share `label_smoothing` of the labels is taken to be the wrong way round.

    `(1 - e) dpo(d) + e dpo(-d)`; not the unbiased "robust" variant. Source: E. Mitchell, "A note on
    DPO with noisy preferences".
    """
    d = knobs.beta * (pairs.chosen.ratio - pairs.rejected.ratio)
    e = knobs.label_smoothing
    return (1 - e) * _softminus(d) + e * _softminus(-d)


def ipo(pairs: Pairs, knobs: Knobs) -> Tensor:
    """(B,) `(r_w/|w| - r_l/|l| - 1/(2 beta))^2`: ratios per token, as its authors meant (2310.12036, eq. 17)."""
    w, l = pairs.chosen, pairs.rejected  # noqa: E741 - the letters of the papers
    d = w.ratio / w.tokens.clamp(min=1) - l.ratio / l.tokens.clamp(min=1)
    return (d - 1 / (2 * knobs.beta)) ** 2


def simpo(pairs: Pairs, knobs: Knobs) -> Tensor:
    """(B,) `-log sigmoid(beta (m_w - m_l - margin))`, m the mean log-prob of a token; no reference (2405.14734, eq. 6).

    `margin` is the paper's gamma over beta.
    """
    return _softminus(knobs.beta * (pairs.chosen.mean - pairs.rejected.mean - knobs.margin))


def orpo(pairs: Pairs, knobs: Knobs) -> Tensor:
    """(B,) `-m_w - beta log sigmoid(log odds(w) - log odds(l))`; no reference (2403.07691, eqs. 3-7).

    Odds of the mean log-prob m; beta is the paper's lambda. The likelihood term is the chosen turn's
    alone (TRL's takes the prompt's tokens in as well).
    """
    w, l = (side.mean.clamp(max=NEAR_ONE) for side in (pairs.chosen, pairs.rejected))  # noqa: E741
    odds = (w - _log1mexp(w)) - (l - _log1mexp(l))
    return -pairs.chosen.mean + knobs.beta * _softminus(odds)


def _log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x < 0, exact on both sides of -log 2 (Maechler 2012)."""
    import torch

    near = x > -math.log(2)
    # where() lets the gradient of the branch not taken through as 0 * inf: each gets an argument it can bear.
    small, large = torch.where(near, x, -1.0), torch.where(near, -1.0, x)
    return torch.where(near, torch.log(-torch.expm1(small)), torch.log1p(-torch.exp(large)))


def kto(pairs: Pairs, knobs: Knobs) -> Tensor:
    """(B,) mean of `desirable (1 - s(beta (r_w - z)))` and `undesirable (1 - s(beta (z - r_l)))`, s the sigmoid.

    z is the mean of `pairs.mismatched`, at least 0, and carries no gradient (2402.01306, eq. 7).
    """
    z = 0.0 if pairs.mismatched is None else pairs.mismatched.detach().mean().clamp(min=0)
    good = knobs.desirable * (1 - (knobs.beta * (pairs.chosen.ratio - z)).sigmoid())
    bad = knobs.undesirable * (1 - (knobs.beta * (z - pairs.rejected.ratio)).sigmoid())
    return (good + bad) / 2


def dpo_nll(pairs: Pairs, knobs: Knobs) -> Tensor:
    """(B,) DPO plus `nll_weight` times the chosen turn's mean negative log-prob (2404.19733, eq. 1)."""
    return dpo(pairs, knobs) - knobs.nll_weight * pairs.chosen.mean


def span(pairs: Pairs, knobs: Knobs) -> Tensor:
    """(B,) DPO on the differing leaves, likelihood on the rest of the chosen turn.

    `-log sigmoid(beta (r_w^D - r_l^D)) - nll_weight * m_w^R`: r^D are log-ratios summed over the tokens of
    the leaves (function names, argument values, arguments or calls that only one side has) in which
    the two turns differ, m_w^R is the mean log-prob of the chosen turn's other tokens. So the
    differing leaves of the chosen turn are raised, those of the rejected turn lowered, all else of the
    chosen turn kept likely, and all else of the rejected turn gets no gradient: the tokens behind
    the difference, which both share, would drag the chosen turn down with the rejected (2410.13828).
    Which tokens those are is found by `train/_pairs.py`; where turns cannot be compared leaf by leaf
    (a call against a text), all tokens differ from where they part.
    """
    w, l = pairs.chosen, pairs.rejected  # noqa: E741
    rest = (w.policy - w.leaf_policy) / (w.tokens - w.leaf_tokens).clamp(min=1)
    return _softminus(knobs.beta * (w.leaf_ratio - l.leaf_ratio)) - knobs.nll_weight * rest


@dataclass(frozen=True)
class Loss:
    """A loss, whether it needs a reference, and the settings that it is published with."""

    of: Callable[[Pairs, Knobs], Any]
    needs_reference: bool
    usual: Knobs
    caption: str


LOSSES: dict[str, Loss] = {
    "dpo": Loss(dpo, True, Knobs(beta=0.1), "direct preference optimisation"),
    "cdpo": Loss(cdpo, True, Knobs(beta=0.1, label_smoothing=0.2), "DPO that trusts the labels less"),
    "ipo": Loss(ipo, True, Knobs(beta=0.1), "squared distance to a fixed margin, per token"),
    "simpo": Loss(simpo, False, Knobs(beta=10.0, margin=0.3), "mean log-probs and a margin, no reference"),
    "orpo": Loss(orpo, False, Knobs(beta=0.1), "likelihood and odds ratio, no reference"),
    "kto": Loss(kto, True, Knobs(beta=0.1), "each turn on its own against a yardstick"),
    "dpo_nll": Loss(dpo_nll, True, Knobs(beta=0.1, nll_weight=1.0), "DPO and likelihood of the chosen turn"),
    "span": Loss(span, True, Knobs(beta=0.1, nll_weight=1.0), "DPO on the leaves that differ, likelihood on the rest"),
}
"""The losses by name."""

"""Masks over weights: which of them does a skill need, and what is left without them?

Continuous sparsification (Savarese et al., arXiv 1912.04427), as structural compositionality is tested with it
(Lepori et al., arXiv 2301.10884, sections 3 and 4): weights stand still, a score s for each is learned, the weight
goes through as w * sigmoid(T s), and T grows geometrically until the sigmoid is a step; the mask is s > 0. What is
taken away is set to 0. A mask can be found for nearly any task in nearly any network, trained or not: only what
happens without the mask's weights, beside the same for controls, says anything.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from callgrain.models._adapters import linears
from callgrain.models._forest import Document, Forest, plant, target_logits

if TYPE_CHECKING:
    import torch

Weights = Mapping[str, "torch.Tensor"]
"""A weight for each of some linear layers, by the layer's name."""

ROW_TOKENS = 4096
"""Tokens that are looked at in one pass without gradients, unless a document alone has more."""


@dataclass(frozen=True)
class Decision:
    """A prompt, the turn that follows as far as it is looked at, and the places in the turn that are decided on."""

    prompt: tuple[int, ...]
    turn: tuple[int, ...]
    places: tuple[int, ...]
    trace: str = ""
    context: int = 0

    @property
    def tokens(self) -> int:
        """Positions that it takes up in a row."""
        return len(self.prompt) + len(self.turn)


@dataclass(frozen=True)
class Row:
    """Decisions side by side: the forest, and which of its N targets are decided on (M of them), by decision."""

    forest: Forest
    where: torch.Tensor
    owner: torch.Tensor
    count: int

    @property
    def targets(self) -> torch.Tensor:
        """(M,) token ids that are right."""
        return self.forest.targets[self.where]


@dataclass(frozen=True)
class Outcome:
    """What became of one decision's tokens: how many, how many were the likeliest, and their mean loss in nats."""

    tokens: int
    right: int
    nats: float


@dataclass(frozen=True)
class Search:
    """How a mask is searched: steps of Adam at `rate` on scores that begin at `start`, T from `soft` to `hard`.

    `penalty` is the price of keeping every weight, in nats; a row of a step holds `row_tokens` at most.
    """

    steps: int = 60
    rate: float = 0.05
    start: float = 0.2
    soft: float = 5.0
    hard: float = 200.0
    penalty: float = 1000.0
    row_tokens: int = 800


@dataclass(frozen=True)
class Mask:
    """Which weights of each linear layer are kept, boolean in the weight's shape.

    `first` and `last` are the mean loss of the first and the last tenth of the steps, in nats.
    """

    kept: Mapping[str, torch.Tensor]
    first: float = 0.0
    last: float = 0.0

    @property
    def counts(self) -> dict[str, int]:
        """Weights kept in each layer."""
        return {name: int(found.sum()) for name, found in self.kept.items()}

    @property
    def share(self) -> float:
        """Share of weights that are kept."""
        return sum(self.counts.values()) / max(1, sum(found.numel() for found in self.kept.values()))


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    """The weight of every linear layer but the output head. Raises BrokenModel where there is none."""
    found = {name: model.get_submodule(name).weight.detach() for name in linears(model)}
    return {name: weight for name, weight in found.items() if weight.is_floating_point()}


@contextmanager
def swapped(model: Any, weights: Weights) -> Generator[None]:
    """Put other weights in place while it lasts: gradients flow to them, the model's own are not touched."""
    kept: dict[str, Any] = {}
    try:
        for name, weight in weights.items():
            layer = model.get_submodule(name)
            kept[name] = layer._parameters.pop("weight")
            layer.weight = weight
        yield
    finally:
        for name, parameter in kept.items():
            layer = model.get_submodule(name)
            layer.__dict__.pop("weight", None)
            layer._parameters["weight"] = parameter


def rows_of(decisions: Sequence[Decision], row_tokens: int = ROW_TOKENS, device: Any = "cpu") -> list[Row]:
    """The decisions in rows of at most so many tokens, in their order; a longer one has a row of its own."""
    parts: list[list[Decision]] = []
    size = 0
    for one in decisions:
        if not parts or size + one.tokens > row_tokens:
            parts.append([])
            size = 0
        parts[-1].append(one)
        size += one.tokens
    return [_row(part, device) for part in parts]


def _row(decisions: Sequence[Decision], device: Any) -> Row:
    import torch

    forest = plant([Document(one.prompt, (one.turn,)) for one in decisions], device)
    where: list[int] = []
    owner: list[int] = []
    first = 0
    for number, one in enumerate(decisions):
        where += [first + place for place in one.places]
        owner += [number] * len(one.places)
        first += len(one.turn)
    return Row(forest, torch.tensor(where, device=device), torch.tensor(owner, device=device), len(decisions))


def decided(model: Any, row: Row) -> torch.Tensor:
    """(M, vocabulary) float32 log-probabilities at the places that are decided on."""
    return target_logits(model, row.forest)[row.where].log_softmax(-1)


def loss_of(model: Any, row: Row) -> torch.Tensor:
    """Mean loss of the row's decisions in nats, each decision with the same weight whatever its number of tokens."""
    nats = -decided(model, row).gather(1, row.targets[:, None])[:, 0]
    return means(nats, row).mean()


def means(values: torch.Tensor, row: Row) -> torch.Tensor:
    """(decisions,) means of values (M,), one for each place that is decided on."""
    import torch

    sums = values.new_zeros(row.count).index_add(0, row.owner, values)
    return sums / torch.bincount(row.owner, minlength=row.count).clamp_min(1)


def outcomes(model: Any, rows: Sequence[Row]) -> list[Outcome]:
    """What becomes of each decision, in their order; the tokens before a place are the right ones."""
    import torch

    found: list[Outcome] = []
    with torch.inference_mode():
        for row in rows:
            logprobs = decided(model, row)
            targets = row.targets
            right = (logprobs.argmax(-1) == targets).float()
            nats = means(-logprobs.gather(1, targets[:, None])[:, 0], row)
            counts = torch.bincount(row.owner, minlength=row.count)
            hits = right.new_zeros(row.count).index_add(0, row.owner, right)
            triples = zip(counts.tolist(), hits.tolist(), nats.tolist(), strict=True)
            found += [Outcome(n, round(hit), loss) for n, hit, loss in triples]
    return found


def search(model: Any, decisions: Sequence[Decision], settings: Search, seed: int) -> Mask:
    """A mask under which the decisions come out right and as little as possible is kept.

    The model's weights stand still; the order of decisions is drawn from `seed`. Deterministic on a processor.
    """
    import torch

    weights = weights_of(model)
    device = next(iter(weights.values())).device
    scores = {name: torch.full_like(w, settings.start, dtype=torch.float32) for name, w in weights.items()}
    for score in scores.values():
        score.requires_grad_()
    total = sum(score.numel() for score in scores.values())
    # Near the end the sigmoid is flat nearly everywhere: what is left of a gradient must not drown in Adam's epsilon.
    optimizer = torch.optim.Adam(list(scores.values()), lr=settings.rate, eps=1e-20)
    rows = _endless(decisions, settings, seed, device)
    losses: list[float] = []
    for step in range(settings.steps):
        heat = settings.soft * (settings.hard / settings.soft) ** (step / max(1, settings.steps - 1))
        soft = {name: torch.sigmoid(heat * score) for name, score in scores.items()}
        with swapped(model, {name: weights[name] * found.to(weights[name].dtype) for name, found in soft.items()}):
            loss = loss_of(model, next(rows))
        kept = torch.stack([found.sum() for found in soft.values()]).sum() / total
        optimizer.zero_grad(set_to_none=True)
        (loss + settings.penalty * kept).backward(inputs=list(scores.values()))
        optimizer.step()
        losses.append(float(loss.detach()))
    few = max(1, settings.steps // 10)
    kept_weights = {name: score.detach() > 0 for name, score in scores.items()}
    return Mask(kept_weights, sum(losses[:few]) / few, sum(losses[-few:]) / few)


def _endless(decisions: Sequence[Decision], settings: Search, seed: int, device: Any) -> Generator[Row]:
    """Rows of the decisions, shuffled anew each time round."""
    rng = Random(seed)
    while True:
        yield from rows_of(rng.sample(list(decisions), len(decisions)), settings.row_tokens, device)


def random_mask(counts: Mapping[str, int], like: Weights, seed: int) -> Mask:
    """As many weights of each layer as `counts` says, drawn at random."""
    import torch

    rng = torch.Generator().manual_seed(seed)
    kept: dict[str, torch.Tensor] = {}
    for name, weight in like.items():
        flat = torch.zeros(weight.numel(), dtype=torch.bool)
        flat[torch.randperm(weight.numel(), generator=rng)[: counts[name]]] = True
        kept[name] = flat.view(weight.shape).to(weight.device)
    return Mask(kept)


def only(weights: Weights, mask: Mask) -> dict[str, torch.Tensor]:
    """The weights with all but the mask's set to 0."""
    return {name: weight * mask.kept[name].to(weight.dtype) for name, weight in weights.items()}


def without(weights: Weights, mask: Mask) -> dict[str, torch.Tensor]:
    """The weights with the mask's set to 0."""
    return {name: weight * (~mask.kept[name]).to(weight.dtype) for name, weight in weights.items()}


def redrawn(model: Any, seed: int) -> Any:
    """A model of the same architecture whose weights its own initialiser has drawn, in evaluation mode."""
    import copy

    import torch

    first = next(model.parameters())
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = type(model)(copy.deepcopy(model.config))
    return made.to(device=first.device, dtype=first.dtype).eval()

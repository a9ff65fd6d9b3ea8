"""Networks whose modularity is known: two glued side by side, and one task dealt out as if it were two skills.

Both have the same layers and sort noisy points into classes without an error. In the glued one each block reads
features of its own skill alone and was trained on it alone: without one block's weights the other skill stands. In
the shared one both "skills" are random halves of the very same task: a contrast on points that no mask was searched
on is 0 by construction, however masks turn out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from benchmarks._planting import Covered, Found, pick
from callgrain.core.types import Reading
from callgrain.models._mask_search import Decision, Search
from callgrain.probes._modularity_figures import Matrix, cells
from callgrain.probes._modularity_masks import Bench, Skill, mask_rows
from callgrain.probes._modularity_read import read

CLASSES, POINTS = 6, 16
"""Classes of each skill, and points of each class: half of them are searched on, half held out."""
SKILL = CLASSES * POINTS
WIDTH, HIDDEN = 16, 8
SEARCH = Search(steps=80, penalty=3.0, row_tokens=96)
"""For a network of some hundred weights, in which a hundredth is a handful."""


class TableConfig(PreTrainedConfig):
    """Of `Table`, whose shape is fixed."""

    model_type = "callgrain_table"


class Table(PreTrainedModel):
    """A token's features through two blocks, whose answers are added."""

    config_class = TableConfig

    def __init__(self, config: TableConfig) -> None:
        super().__init__(config)
        self.features = nn.Embedding(2 * SKILL, WIDTH)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(WIDTH, HIDDEN, bias=False),
                nn.ReLU(),
                nn.Linear(HIDDEN, CLASSES, bias=False),
            )
            for _ in range(2)
        )

    def get_output_embeddings(self) -> None:
        """None: every linear layer belongs to a block."""

    def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
        """(rows, positions) token ids -> `.logits` (rows, positions, CLASSES)."""
        seen = self.features(input_ids)
        return SimpleNamespace(logits=self.blocks[0](seen) + self.blocks[1](seen))


def answers() -> list[int]:
    """The class of each token: points of the first skill, class by class, then those of the second."""
    return [i // POINTS for i in range(SKILL)] * 2


def glued(seed: int = 0) -> Table:
    """Two networks in one: modular by construction."""
    half = WIDTH // 2
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = _points(torch.randn(2 * CLASSES, WIDTH))
        with torch.no_grad():
            net.features.weight[:SKILL, half:] = 0
            net.features.weight[SKILL:, :half] = 0
            net.blocks[0][0].weight[:, half:] = 0
            net.blocks[1][0].weight[:, :half] = 0
        for number in (0, 1):  # features of the other skill are 0: no gradient reaches the weights that read them
            _fit(net, range(number * SKILL, (number + 1) * SKILL), list(net.blocks[number].parameters()))
    return net.eval()


def shared(seed: int = 0) -> Table:
    """One task for both skills: no weight can serve one of them alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = _points(torch.randn(CLASSES, WIDTH).repeat(2, 1))
        _fit(net, range(2 * SKILL), list(net.blocks.parameters()))
    return net.eval()


def _points(centres: torch.Tensor) -> Table:
    """An untrained network whose tokens lie around the centres of their classes."""
    net = Table(TableConfig())
    with torch.no_grad():
        net.features.weight.copy_(2 * centres.repeat_interleave(POINTS, 0) + 0.4 * torch.randn(2 * SKILL, WIDTH))
    return net


def _fit(net: Table, tokens: Sequence[int], weights: list[nn.Parameter], steps: int = 200) -> None:
    ids = torch.tensor(list(tokens))
    wanted = torch.tensor(answers())[ids]
    optimizer = torch.optim.Adam(weights, lr=0.02)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(net(ids[None]).logits[0], wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def skills() -> list[Skill]:
    """Both skills: every other point is held out."""
    return [Skill(name, tuple(_items(k, 0)), tuple(_items(k, 1))) for k, name in enumerate(("first", "second"))]


def _items(number: int, side: int) -> Iterator[Decision]:
    for token in range(number * SKILL + side, (number + 1) * SKILL, 2):
        yield Decision((token,), (answers()[token],), (0,), trace=str(token))


def examined(net: Table, seeds: int = 3) -> list[Reading]:
    """What masks say of the network."""
    return read(list(mask_rows(Bench(net, skills(), SEARCH, "cpu"), seeds, {})))


def plants(quick: bool) -> Iterator[Found]:
    """Modular and shared, several networks of each."""
    torch.set_num_threads(1)
    for seed in range(1 if quick else 3):
        for name, make, truth in (("glued", glued, 1.0), ("shared", shared, 0.0)):
            found = examined(make(seed))
            said = f"modularity {'shown' if truth else 'not shown'}"
            yield Found(f"{name} {seed}: {said}", truth, _pointed(pick(found, "shown")))
            yield Found(f"{name} {seed}: contrast", "above 0" if truth else 0.0, pick(found, "contrast", arm="trained"))


def _pointed(row: Reading | None) -> Reading | None:
    """A yes or no as an interval of one point, so that it counts as held or not."""
    return row.model_copy(update={"low": row.value, "high": row.value}) if row is not None else None


@dataclass(frozen=True)
class World:
    """Matrices drawn at random: three skills, three seeds, the chance of being right in every cell."""

    chance: np.ndarray
    held: int = 20
    names: tuple[str, ...] = ("a", "b", "c")

    def draw(self, rng: np.random.Generator) -> Matrix:
        """One run: held-out decisions of each skill, each harder or easier under every mask and seed alike."""
        found: dict[tuple[str, ...], list[list[Any]]] = {}
        ease = {(skill, i): rng.uniform(-0.15, 0.15) for skill in self.names for i in range(self.held)}
        for seed in range(3):
            for m, mask in enumerate(self.names):
                for s, skill in enumerate(self.names):
                    found["trained", str(seed), mask, skill] = [
                        [f"{i}", float(rng.random() < self.chance[m, s] + ease[skill, i]), 0.0]
                        for i in range(self.held)
                    ]
        return Matrix(cells(found, 1), "trained", self.names, [str(seed) for seed in range(3)])


def coverage(runs: int) -> Iterator[Covered]:
    """Intervals of the contrast and of its halves against the chances that verdicts were drawn with."""
    chance = np.full((3, 3), 0.75)
    np.fill_diagonal(chance, 0.35)
    chance[0, 1] = 0.5
    off = ~np.eye(3, dtype=bool)
    truth = {"own": 0.35, "other": float(chance[off].mean())}
    truth["contrast"] = truth["other"] - truth["own"]
    held = dict.fromkeys(truth, 0)
    rng = np.random.default_rng(0)
    for _ in range(runs):
        matrix = World(chance).draw(rng)
        for name, true in truth.items():
            _, low, high = matrix.cells.interval(getattr(matrix, name)())
            held[name] += low is not None and high is not None and low <= true <= high
    yield from (Covered(f"modularity/{name}", count, runs) for name, count in held.items())

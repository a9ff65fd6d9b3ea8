"""BM25 and MiniLM made into one ranking, by reciprocal ranks.

Cormack, Clarke and Buettcher (SIGIR 2009), with their constant of 60. Needs the extra `dense`.
"""

from __future__ import annotations

from collections.abc import Sequence

from callgrain.core.protocols import Retriever
from callgrain.core.types import Tool
from callgrain.retrievers._ranking import Ranking, reciprocal
from callgrain.retrievers.bm25 import BM25
from callgrain.retrievers.dense import Dense

CONSTANT = 60
DEPTH = 200
"""Ranks of each that are read at least: a tool behind them would add less than half of what the first adds."""


class Fused:
    """Both indices over the same tools, or the retrievers given as `parts`. Raises MissingExtra without them."""

    def __init__(self, tools: Sequence[Tool], parts: Sequence[Retriever] = ()) -> None:
        self._parts = tuple(parts) or (BM25(tools), Dense(tools))

    def rank(self, requests: Sequence[str], k: int) -> list[Ranking]:
        """The best `k` tools of each request."""
        ranked = [part.rank(requests, max(k, DEPTH)) for part in self._parts]
        return [reciprocal(pair, k, CONSTANT) for pair in zip(*ranked, strict=True)]


plugin = Fused

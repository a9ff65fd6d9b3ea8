"""BM25 over names, descriptions and parameters of tools.

Robertson and Zaragoza (2009) in Lucene's form, k1 1.5 and b 0.75, by bm25s (Lu 2024, arXiv 2407.03618). Needs no
weights and no training; a tool that shares no word with the request is not found.
"""

from __future__ import annotations

from collections.abc import Sequence

from callgrain.core.types import Tool
from callgrain.retrievers._documents import document, terms
from callgrain.retrievers._ranking import Ranking, best


class BM25:
    """An index of the words of tools. Only tools that share a word with the request are ranked."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        import bm25s

        documents = [terms(document(tool)) for tool in tools]
        self._vocabulary = {word: i for i, word in enumerate(sorted({word for words in documents for word in words}))}
        self._index = bm25s.BM25()
        if self._vocabulary:
            numbered = [[self._vocabulary[word] for word in words] for words in documents]
            self._index.index((numbered, self._vocabulary), create_empty_token=False, show_progress=False)

    def rank(self, requests: Sequence[str], k: int) -> list[Ranking]:
        """The best `k` tools of each request; fewer where fewer share a word with it."""
        return [self._one(request, k) for request in requests]

    def _one(self, request: str, k: int) -> Ranking:
        known = [self._vocabulary[word] for word in terms(request) if word in self._vocabulary]
        if not known:
            return []
        return [pair for pair in best(self._index.get_scores_from_ids(known), k) if pair[1] > 0]


plugin = BM25

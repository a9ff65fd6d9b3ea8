"""Likeness of meaning: MiniLM's vectors of tools and requests.

Needs the extra `dense`, which brings the weights along. The search is a product of matrices: exact, and at 16,000
tools far below what encoding the request costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from callgrain.core.canonical import text_hash
from callgrain.core.types import Tool
from callgrain.retrievers._documents import document
from callgrain.retrievers._encoder import encoder
from callgrain.retrievers._ranking import Ranking, best


class Dense:
    """Vectors of tools; `known` holds vectors by hash of the document, so that they need not be made again.

    Raises MissingExtra without the extra `dense`.
    """

    def __init__(self, tools: Sequence[Tool], known: Mapping[str, Any] | None = None) -> None:
        self.vectors = dict(known or {})
        """Vectors by hash of the document."""
        texts = [document(tool) for tool in tools]
        self._encoder = encoder()
        self._matrix = self._of(texts)

    def rank(self, requests: Sequence[str], k: int) -> list[Ranking]:
        """The best `k` tools of each request, by cosine; a request without a word ranks nothing."""
        asked = [i for i, request in enumerate(requests) if request.strip()]
        out: list[Ranking] = [[] for _ in requests]
        if not asked or not len(self._matrix):
            return out
        scores = self._encoder.encode([requests[i] for i in asked]) @ self._matrix.T
        for i, row in zip(asked, scores, strict=True):
            out[i] = best(row, k)
        return out

    def _of(self, texts: Sequence[str]) -> Any:
        import numpy as np

        keys = [text_hash(text.encode()) for text in texts]
        lacking = {key: text for key, text in zip(keys, texts, strict=True) if key not in self.vectors}
        self.vectors |= zip(lacking, self._encoder.encode(list(lacking.values())), strict=True)
        return np.stack([self.vectors[key] for key in keys]) if keys else np.zeros((0, 0), dtype=np.float32)


plugin = Dense

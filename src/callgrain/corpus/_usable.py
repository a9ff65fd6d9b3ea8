"""The traces of a source that a teacher can be given: the first `n` that are of use, and why the others are not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from typing import Generic, TypeVar

from callgrain.core.protocols import Source
from callgrain.core.types import Trace
from callgrain.corpus.build import BARREN, numbered
from callgrain.sources._folder import SkipError
from callgrain.sources._open import set_aside

T = TypeVar("T")


class Usable(ABC, Generic[T]):
    """The first `n` Traces of a split that `made` makes something of; `skipped` counts the others by reason.

    `skipped` and `count` are of the latest pass over them.
    """

    def __init__(self, source: Source, split: str, n: int) -> None:
        self.source, self.split, self.n = source, split, n
        self.skipped: Counter[str] = Counter()
        self.count = 0

    @abstractmethod
    def made(self, at: int, trace: Trace) -> T:
        """What a teacher is given of trace number `at`. Raises SkipError with the reason where that is nothing."""

    def __iter__(self) -> Iterator[T]:
        """What is made of them, in the source's order; an endless source without any is given up."""
        self.skipped, self.count = Counter(), 0
        aside = set_aside(self.source)
        aside.count, aside.first = 0, []
        endless, barren = callable(getattr(self.source, "trace", None)), 0
        for at, trace in numbered(self.source, self.split, 0):
            if self.count == self.n or (barren > BARREN and endless):
                return
            barren += 1
            if trace is None:
                continue
            try:
                found = self.made(at, trace)
            except SkipError as reason:
                self.skipped[str(reason)] += 1
                continue
            self.count, barren = self.count + 1, 0
            yield found

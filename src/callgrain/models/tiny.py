"""The model in the box: a small decoder that speaks toolworld."""

from __future__ import annotations

from typing import Any

from callgrain.core.errors import BadInput
from callgrain.models._box import box
from callgrain.models.local import Local


class Tiny(Local):
    """`tiny`: the decoder that ships with the package, with `Local`'s settings.

    Made by `make tiny` from toolworld's open world alone; its card, seeds and curve lie beside its weights. Raises
    BadInput for anything behind its name, MissingExtra without torch or transformers.
    """

    def __init__(self, rest: str = "", **options: Any) -> None:
        if rest:
            raise BadInput(f"tiny takes nothing behind its name (given {rest!r})", "write --model tiny")
        super().__init__(str(box()), **options)
        self.name = "tiny"


plugin = Tiny

"""A seeded universe of typed tools that really run, in memory.

`toolworld:micro` speaks a few hundred words, for models that learn in minutes; `open` is the same with
values that no list holds, `farm` another trade in words of its own; `toolworld:full` has ordinary
JSON-Schema tools. The same spec gives the same tools and the same results on every machine.
"""

from __future__ import annotations

from functools import lru_cache

from callgrain.core import plugins
from callgrain.core.errors import UnknownName
from callgrain.tools import _toolworld_full
from callgrain.tools._catalogue import Catalogue
from callgrain.tools._toolworld import Universe
from callgrain.tools._toolworld_farm import FARM
from callgrain.tools._toolworld_micro import MICRO
from callgrain.tools._toolworld_small import build

LEXICONS = {"micro": MICRO, "open": MICRO, "farm": FARM}
LEVELS = ("full", *LEXICONS)


@lru_cache(maxsize=16)
def universe(level: str, seed: int) -> Universe:
    """The universe of a level and seed. Raises UnknownName for a level that is not in LEVELS."""
    if level not in LEVELS:
        raise UnknownName("level of toolworld", level, LEVELS)
    return build(LEXICONS[level], level, seed) if level in LEXICONS else _toolworld_full.build(seed)


def read_level(rest: str) -> tuple[str, str]:
    """`"micro,seed=3"` -> `("micro", "seed=3")`; the level is `full` where none is named."""
    parts = [p.strip() for p in rest.split(",") if p.strip()]
    level = parts.pop(0) if parts and "=" not in parts[0] else "full"
    return level, ",".join(parts)


class Toolworld:
    """Importer of the built-in universe: `toolworld:micro,seed=3` or `toolworld:full`."""

    in_memory = True

    def __call__(self, rest: str) -> Catalogue:
        """The catalogue of a level and seed. Raises UnknownName or CallgrainError for other options."""
        bare, others = read_level(rest)
        wanted = plugins.options("toolworld", others, {"level": bare, "seed": 0})
        world = universe(wanted["level"], wanted["seed"])
        return Catalogue(world.spec, tuple(s.tool for s in world.specs.values()), world.run)


plugin = Toolworld()

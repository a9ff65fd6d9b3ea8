"""Small universes: short names, one-word values, requests of a dozen words.

A lexicon is verbs times nouns, names split as `verb` + `_noun`. Which synonym of its noun a tool is named
by, what its parameters are called and which it has is drawn anew in every world, so a model must read the
tools that it is shown: where names stood fast, a decoder scored 97 % with the tools taken away. Verbs stand
fast: drawn anew as well, they cost a small decoder more than its few minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from callgrain.core.types import Json, Mutates, Tool
from callgrain.tools._toolworld import (
    Field,
    Kind,
    Param,
    Spec,
    Universe,
    schema_of,
    seeded,
    whole,
    with_article,
    world_key,
)

Verb = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], Mutates]
"""Surface words, leading parameters, kinds of result, whether it mutates."""

OPEN_SHARE = 0.55
"""Share of the values of an open world that no list holds: made-up names, longer codes and numbers."""
_ONSETS = (*tuple("bdfghjklmnprstvwz"), "br", "dr", "gl", "kr", "pl", "st", "tr", "sh", "th")
_VOWELS = (*"aeiou", "ai", "ea", "oo")
_CODAS = ("", "", "", "n", "l", "r", "s", "x", "m", "rk", "nd")


@dataclass(frozen=True)
class Lexicon:
    """The words of a small world.

    `params` maps a parameter to (kind of value, cue words, names that a tool may give it); `item` and `other`
    go by one name, pronouns hang on them. `common` are parameters that any tool may have. `nouns` maps a noun
    to its synonyms, itself the first.
    """

    name: str
    pools: Mapping[str, tuple[Json, ...]]
    params: Mapping[str, tuple[str, tuple[str, str], str]]
    common: tuple[str, ...]
    verbs: Mapping[str, Verb]
    nouns: Mapping[str, tuple[str, str, str]]


def words(lexicon: Lexicon) -> set[str]:
    """Every word that a lexicon says, tools' names and parameters' names as they are tokenised."""
    said = set(lexicon.verbs) | set(lexicon.pools)
    said |= {str(v) for values in lexicon.pools.values() for v in values}
    said |= {w for surface, *_ in lexicon.verbs.values() for w in surface}
    said |= {form for names in lexicon.nouns.values() for w in names for form in (w, f"_{w}")}
    for _, cues, given in lexicon.params.values():
        said |= {*cues, *given.split(), *(f"{name}=" for name in given.split())}
    return said


def _invented(kind: str, pool: tuple[Json, ...], rng: Random) -> Json:
    """A value of a kind that its list does not hold: a number, a code, or a made-up name of two or three syllables."""
    if kind == "number":
        return rng.randrange(31, 1000)
    like = str(pool[-1])
    if like[1:].isdigit():
        return f"{like[0]}{rng.randrange(40, 10000)}"
    made = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.choice((1, 2, 2))))
    return made + rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS)


def _kind(lexicon: Lexicon, name: str, is_open: bool) -> Kind:
    values = lexicon.pools[name]
    inside = frozenset(values)
    is_open = is_open and name != "size"  # the one enum

    def draw(rng: Random) -> Json:
        return _invented(name, values, rng) if is_open and rng.random() < OPEN_SHARE else rng.choice(values)

    if name == "number":
        schema: dict[str, Json] = {"type": "integer", "title": name}
        holds: Callable[[Json], bool] = lambda v: whole(v) and (is_open or v in inside)  # noqa: E731
    else:
        schema = {"type": "string", "title": name}
        if name == "size":
            schema["enum"] = list(values)
        holds = lambda v: isinstance(v, str) and (v in inside or (is_open and v.isalnum()))  # noqa: E731
    return Kind(name, schema, draw, holds, lambda v, _: str(v))


def _parameters(lexicon: Lexicon, verb: str, noun: str, seed: int) -> tuple[Param, ...]:
    rng = seeded(f"{lexicon.name}-params", seed, verb, noun)
    names = rng.choice(lexicon.verbs[verb][1]).split()
    wanted = max(len(names), rng.choice((1, 2, 2, 2, 3)))
    spare = [p for p in lexicon.common if p not in names]
    names += rng.sample(spare, wanted - len(names))
    rng.shuffle(names)
    made: list[Param] = []
    for name in names:
        kind, cues, given = lexicon.params[name]
        made.append(Param(rng.choice(given.split()), kind, tuple(f"{cue} {{}}" for cue in cues)))
    return tuple(made)


def _compute(lexicon: Lexicon, seed: int, name: str, kind: str) -> Callable[[Mapping[str, Json]], Json]:
    def look_up(given: Mapping[str, Json]) -> Json:
        if "other" in given:  # really compared: the one with the lower hidden price
            extra = {k: v for k, v in given.items() if k not in ("item", "other")}
            return min(given["item"], given["other"], key=lambda item: world_key(seed, name, item, extra))
        values = lexicon.pools[kind]
        return values[world_key(seed, name, given) % len(values)]

    return look_up


def _spec(lexicon: Lexicon, verb: str, noun: str, seed: int, kinds: Mapping[str, Kind]) -> Spec:
    surface, _, returns, mutates = lexicon.verbs[verb]
    said = lexicon.nouns[noun]
    rng = seeded(f"{lexicon.name}-names", seed, verb, noun)
    called = rng.choice(said)
    name = f"{verb}_{called}"
    kind = rng.choice(returns)
    params = _parameters(lexicon, verb, noun, seed)
    tool = Tool(
        name=name,
        parameters=schema_of(params, kinds),
        returns=dict(kinds[kind].schema),
        mutates=mutates,
    )
    refs = tuple(f"that {n}" for n in said) if kind == "item" else (f"that {kind}",)
    return Spec(
        tool=tool,
        verb=verb,
        noun=noun,
        params=params,
        fields=(Field("", kind, f"{called} {kind}", refs, it=kind == "item"),),
        compute=_compute(lexicon, seed, name, kind),
        openers=tuple(f"{v} {with_article(n)}" for v in surface for n in said),
        identity=f"{verb}_{noun}",
        pronoun=tuple(f"{v} {{item}}" for v in surface) if any(p.name == "item" for p in params) else (),
    )


def build(lexicon: Lexicon, level: str, seed: int) -> Universe:
    """The universe of `seed`: every verb with every noun. In an open world most values stand in no list."""
    kinds = {name: _kind(lexicon, name, level == "open") for name in lexicon.pools}
    made = [_spec(lexicon, v, n, seed, kinds) for v in lexicon.verbs for n in lexicon.nouns]
    return Universe(level, seed, kinds, {spec.tool.name: spec for spec in made})

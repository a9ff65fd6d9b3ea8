"""The micro universe: some hundred tools in a few hundred one-token words.

Sixteen verbs times twenty-four nouns, names split as `verb` + `_noun`. Which synonym of its noun a
tool is named by, what its parameters are called and which it has is drawn anew in every world, so
a model must read the tools that it is shown: where names stood fast, a decoder scored 97 % with
the tools taken away. Verbs stand fast: drawn anew as well, they cost a small decoder more than
its few minutes. Every surface word stands for exactly one verb, noun or parameter, so a request
has one reading.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

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

_POOLS: dict[str, tuple[Json, ...]] = {
    "city": (
        "paris",
        "rome",
        "oslo",
        "cairo",
        "lima",
        "delhi",
        "tokyo",
        "milan",
        "seoul",
        "quito",
        "dakar",
        "tunis",
        "berlin",
        "madrid",
        "vienna",
        "prague",
        "lisbon",
        "dublin",
        "athens",
        "warsaw",
        "zurich",
        "havana",
        "bogota",
        "nairobi",
        "sydney",
        "boston",
        "denver",
        "miami",
    ),
    "day": ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    "person": (
        "kim",
        "ana",
        "bob",
        "eva",
        "tom",
        "mia",
        "leo",
        "zoe",
        "max",
        "ida",
        "sam",
        "liv",
        "ben",
        "amy",
        "jon",
        "eli",
        "noa",
        "ray",
        "sue",
        "hal",
        "ivy",
        "gus",
        "fay",
        "ned",
        "una",
        "vic",
        "wes",
        "joy",
    ),
    "color": ("red", "blue", "green", "black", "white", "yellow", "pink", "brown", "gray", "purple", "silver", "gold"),
    "size": ("tiny", "small", "medium", "large", "huge", "giant", "mini"),
    "food": (
        "rice",
        "soup",
        "pasta",
        "salad",
        "bread",
        "fish",
        "beans",
        "cheese",
        "pizza",
        "curry",
        "fruit",
        "sushi",
        "steak",
        "tofu",
        "eggs",
        "nuts",
        "corn",
        "olives",
        "honey",
        "toast",
    ),
    "time": ("7am", "8am", "9am", "10am", "11am", "noon", "1pm", "2pm", "3pm", "4pm", "5pm", "6pm", "7pm", "8pm"),
    "language": (
        "french",
        "german",
        "spanish",
        "greek",
        "arabic",
        "hindi",
        "danish",
        "polish",
        "turkish",
        "korean",
        "dutch",
        "czech",
        "latin",
        "thai",
    ),
    "number": tuple(range(2, 31)),
    "item": tuple(f"h{n}" for n in range(10, 40)),
    "ticket": tuple(f"t{n}" for n in range(10, 40)),
    "cost": tuple(f"p{n}" for n in range(10, 40)),
    "order": tuple(f"r{n}" for n in range(10, 40)),
}

# parameter: (type, cue words, names that a tool may give it); `item` and `other` go by one name, pronouns hang on them
_PARAMS: dict[str, tuple[str, tuple[str, str], str]] = {
    "city": ("city", ("in", "inside"), "city place town"),
    "source": ("city", ("from", "leaving"), "source origin base"),
    "target": ("city", ("reaching", "toward"), "target goal dest"),
    "day": ("day", ("on", "during"), "day date when"),
    "start": ("day", ("starting", "since"), "start begin open"),
    "end": ("day", ("until", "ending"), "end finish close"),
    "guest": ("person", ("for", "honoring"), "guest client owner"),
    "friend": ("person", ("with", "alongside"), "friend partner mate"),
    "color": ("color", ("colored", "painted"), "color shade tint"),
    "size": ("size", ("sized", "measuring"), "size scale format"),
    "food": ("food", ("featuring", "including"), "food dish snack"),
    "time": ("time", ("at", "around"), "time hour slot"),
    "language": ("language", ("speaking", "supporting"), "language tongue speech"),
    "seats": ("number", ("seating", "fitting"), "seats places chairs"),
    "nights": ("number", ("lasting", "spanning"), "nights stays length"),
    "item": ("item", ("using", "regarding"), "item"),
    "other": ("item", ("against", "versus"), "other"),
    "ticket": ("ticket", ("via", "holding"), "ticket pass voucher"),
    "budget": ("cost", ("below", "under"), "budget limit cap"),
    "fee": ("cost", ("charging", "asking"), "fee charge toll"),
    "order": ("order", ("per", "citing"), "order batch job"),
}

_ANY = ("city", "day", "guest", "friend", "color", "size", "food", "time", "language", "seats", "nights", "budget")
_SPACE = ("source target", "city")
_THING = ("item", "item guest", "item day")

# verb: (surface words, leading parameters, kinds of result, mutates)
_VERBS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], Mutates]] = {
    "find": (("find", "seek", "locate"), ("", "budget", *_SPACE), ("item",), "no"),
    "book": (("book", "reserve", "secure"), ("item", "city", "guest day", "seats"), ("ticket",), "yes"),
    "price": (("price", "quote", "appraise"), ("item", "ticket", "nights seats"), ("cost",), "no"),
    "buy": (("buy", "purchase", "acquire"), ("item", "budget", "color size"), ("order",), "yes"),
    "sell": (("sell", "vend", "auction"), ("item fee", "item", "fee"), ("cost", "order"), "yes"),
    "rent": (("rent", "hire", "lease"), ("start end", "item", "city"), ("ticket", "cost"), "yes"),
    "cancel": (("cancel", "scrap", "void"), ("ticket", "order"), ("cost", "ticket"), "yes"),
    "track": (("track", "trace", "follow"), ("order", "ticket"), ("city", "day", "time"), "no"),
    "count": (("count", "tally", "enumerate"), ("city", "day", "color"), ("number",), "no"),
    "move": (("move", "shift", "transfer"), ("source target", "item target"), ("order", "city"), "yes"),
    "lend": (("lend", "loan", "entrust"), ("guest friend", "item guest", "friend"), ("person", "day"), "yes"),
    "repair": (("repair", "mend", "fix"), _THING, ("cost", "day"), "yes"),
    "plan": (("plan", "schedule", "arrange"), ("start end", "guest friend", "day"), ("day", "time", "ticket"), "yes"),
    "rate": (("rate", "judge", "score"), _THING, ("number",), "no"),
    "compare": (("compare", "contrast", "weigh"), ("item other",), ("item",), "no"),
    "deliver": (("deliver", "ship", "bring"), ("order target", "item target", "order"), ("day", "time"), "yes"),
}

_NOUNS: dict[str, tuple[str, str, str]] = {
    words[0]: words
    for words in (
        ("hotel", "inn", "lodge"),
        ("flight", "plane", "jet"),
        ("train", "rail", "express"),
        ("bus", "coach", "shuttle"),
        ("car", "auto", "sedan"),
        ("bike", "bicycle", "cycle"),
        ("boat", "vessel", "yacht"),
        ("table", "desk", "bench"),
        ("film", "movie", "picture"),
        ("song", "tune", "melody"),
        ("novel", "story", "paperback"),
        ("phone", "mobile", "handset"),
        ("lamp", "lantern", "light"),
        ("shirt", "blouse", "top"),
        ("shoe", "boot", "sneaker"),
        ("coat", "jacket", "parka"),
        ("cake", "pastry", "pie"),
        ("meal", "dinner", "lunch"),
        ("gift", "present", "parcel"),
        ("house", "home", "cottage"),
        ("garden", "yard", "park"),
        ("tour", "trip", "outing"),
        ("clock", "watch", "timer"),
        ("piano", "organ", "keyboard"),
    )
}

_GLUE = (
    "a an the that it please kindly could you i want to and plus also then first second third next another after"
    " resulting which what was follows precedes yesterday did say hello thanks welcome is"
)
_SPOKEN = "ASK DECLINE ANSWER _ = -> ( ) , $a$ $b$ $c$ $d$ $e$ $f$ 1"


def _kind(name: str) -> Kind:
    values = _POOLS[name]
    inside = frozenset(values)
    if name == "number":
        schema: dict[str, Json] = {"type": "integer", "title": name}
        holds: Callable[[Json], bool] = lambda v: whole(v) and v in inside  # noqa: E731
    else:
        schema = {"type": "string", "title": name}
        if name == "size":
            schema["enum"] = list(values)
        holds = lambda v: isinstance(v, str) and v in inside  # noqa: E731
    return Kind(name, schema, lambda rng: rng.choice(values), holds, lambda v, _: str(v))


def _parameters(verb: str, noun: str, seed: int) -> tuple[Param, ...]:
    rng = seeded("micro-params", seed, verb, noun)
    names = rng.choice(_VERBS[verb][1]).split()
    wanted = max(len(names), rng.choice((1, 2, 2, 2, 3)))
    spare = [p for p in _ANY if p not in names]
    names += rng.sample(spare, wanted - len(names))
    rng.shuffle(names)
    made: list[Param] = []
    for name in names:
        kind, cues, given = _PARAMS[name]
        made.append(Param(rng.choice(given.split()), kind, tuple(f"{cue} {{}}" for cue in cues)))
    return tuple(made)


def _compute(seed: int, verb: str, name: str, kind: str) -> Callable[[Mapping[str, Json]], Json]:
    def look_up(given: Mapping[str, Json]) -> Json:
        if verb == "compare":  # really compared: the one with the lower hidden price
            extra = {k: v for k, v in given.items() if k not in ("item", "other")}
            return min(given["item"], given["other"], key=lambda item: world_key(seed, name, item, extra))
        values = _POOLS[kind]
        return values[world_key(seed, name, given) % len(values)]

    return look_up


def _spec(verb: str, noun: str, seed: int, kinds: Mapping[str, Kind]) -> Spec:
    words, _, returns, mutates = _VERBS[verb]
    said = _NOUNS[noun]
    rng = seeded("micro-names", seed, verb, noun)
    called = rng.choice(said)
    name = f"{verb}_{called}"
    kind = rng.choice(returns)
    params = _parameters(verb, noun, seed)
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
        compute=_compute(seed, verb, name, kind),
        openers=tuple(f"{v} {with_article(n)}" for v in words for n in said),
        identity=f"{verb}_{noun}",
        pronoun=tuple(f"{v} {{item}}" for v in words) if any(p.name == "item" for p in params) else (),
    )


def build(seed: int) -> Universe:
    """The micro universe of `seed`: 384 tools."""
    kinds = {name: _kind(name) for name in _POOLS}
    made = [_spec(v, n, seed, kinds) for v in _VERBS for n in _NOUNS]
    return Universe("micro", seed, kinds, {spec.tool.name: spec for spec in made})


@lru_cache(maxsize=1)
def vocabulary() -> tuple[str, ...]:
    """Every word that `toolworld:micro` can say, sorted, whatever the seed.

    Tool names are two words, `verb` and `_noun`, and a parameter is one with the sign behind it, `city=`;
    everything else is parted by blanks.
    """
    words = set(_GLUE.split()) | set(_SPOKEN.split()) | set(_VERBS)
    words |= {str(v) for values in _POOLS.values() for v in values} | set(_POOLS)
    words |= {w for said, *_ in _VERBS.values() for w in said}
    words |= {form for said in _NOUNS.values() for w in said for form in (w, f"_{w}")}
    for _, cues, given in _PARAMS.values():
        words |= {*cues, *given.split(), *(f"{name}=" for name in given.split())}
    return tuple(sorted(words))

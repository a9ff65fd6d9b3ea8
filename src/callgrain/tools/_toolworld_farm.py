"""The farm: a small universe of another trade, whose verbs, nouns and half of whose parameters are its own.

What the model in the box has never heard of: the catalogue that it is adapted to.
"""

from __future__ import annotations

from callgrain.core.types import Json
from callgrain.tools._toolworld_small import Lexicon, Verb

_POOLS: dict[str, tuple[Json, ...]] = {
    "village": (
        "ashby",
        "barton",
        "colden",
        "dunmore",
        "elmsey",
        "farley",
        "gorsey",
        "hadlow",
        "ilkton",
        "jarrow",
        "kelby",
        "linton",
        "marlow",
        "norby",
        "oakham",
        "penrith",
        "quorn",
        "rudby",
        "selby",
        "tarvin",
        "upton",
        "wexby",
        "yarm",
        "alder",
    ),
    "season": ("spring", "summer", "autumn", "winter"),
    "day": ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    "person": (
        "abel",
        "bess",
        "cora",
        "dirk",
        "elsa",
        "finn",
        "greta",
        "hank",
        "ines",
        "jude",
        "kurt",
        "lena",
        "milo",
        "nell",
        "otto",
        "pia",
        "rolf",
        "sven",
        "tess",
        "ulla",
    ),
    "tool": ("rake", "spade", "sickle", "scythe", "shovel", "hose", "bucket", "fork", "barrow", "shears"),
    "size": ("tiny", "small", "medium", "large", "huge"),
    "soil": ("clay", "loam", "peat", "chalk", "gravel"),
    "number": tuple(range(2, 31)),
    "item": tuple(f"k{n}" for n in range(10, 40)),
    "batch": tuple(f"b{n}" for n in range(10, 40)),
    "cost": tuple(f"p{n}" for n in range(10, 40)),
}

_PARAMS: dict[str, tuple[str, tuple[str, str], str]] = {
    "village": ("village", ("near", "beside"), "village parish hamlet"),
    "target": ("village", ("reaching", "toward"), "target goal dest"),
    "season": ("season", ("come", "throughout"), "season term quarter"),
    "day": ("day", ("on", "during"), "day date when"),
    "keeper": ("person", ("trusting", "calling"), "keeper farmer foreman"),
    "helper": ("person", ("with", "alongside"), "helper hand aide"),
    "tool": ("tool", ("wielding", "handling"), "tool gear kit"),
    "size": ("size", ("sized", "measuring"), "size scale format"),
    "soil": ("soil", ("upon", "amid"), "soil ground earth"),
    "acres": ("number", ("covering", "across"), "acres hectares area"),
    "bags": ("number", ("needing", "filling"), "bags sacks crates"),
    "item": ("item", ("using", "regarding"), "item"),
    "other": ("item", ("against", "versus"), "other"),
    "batch": ("batch", ("per", "citing"), "batch lot consignment"),
    "budget": ("cost", ("below", "under"), "budget limit cap"),
}

_COMMON = ("village", "season", "day", "keeper", "helper", "tool", "size", "soil", "acres", "bags", "budget")
_THING = ("item", "item keeper", "item day")

_VERBS: dict[str, Verb] = {
    "plant": (("plant", "sow", "bed"), ("soil", "season", "village acres"), ("item",), "yes"),
    "water": (("water", "irrigate", "soak"), ("tool", "season", "item"), ("cost", "day"), "yes"),
    "harvest": (("harvest", "gather", "reap"), ("season", "item", "bags"), ("batch",), "yes"),
    "feed": (("feed", "nourish", "fatten"), ("bags", "item keeper", "keeper"), ("cost", "day"), "yes"),
    "clip": (("clip", "shear", "crop"), _THING, ("batch", "item"), "yes"),
    "inspect": (("inspect", "examine", "survey"), ("village", "", "keeper"), ("item",), "no"),
    "vaccinate": (("vaccinate", "immunize", "inoculate"), _THING, ("day", "cost"), "yes"),
    "stow": (("stow", "stash", "stockpile"), ("batch", "batch target", "item"), ("village", "day"), "yes"),
    "haul": (("haul", "cart", "lug"), ("batch target", "item target"), ("day", "village"), "yes"),
    "grade": (("grade", "rank", "classify"), _THING, ("number",), "no"),
    "oppose": (("oppose", "match", "confront"), ("item other",), ("item",), "no"),
    "insure": (("insure", "underwrite", "safeguard"), ("batch", "item", "acres"), ("cost",), "yes"),
}

_NOUNS: dict[str, tuple[str, str, str]] = {
    words[0]: words
    for words in (
        ("cow", "heifer", "calf"),
        ("sheep", "ewe", "lamb"),
        ("pig", "hog", "swine"),
        ("hen", "chicken", "rooster"),
        ("wheat", "grain", "cereal"),
        ("barn", "shed", "stable"),
        ("field", "meadow", "pasture"),
        ("orchard", "grove", "plantation"),
        ("tractor", "plow", "digger"),
        ("tomato", "pepper", "cucumber"),
        ("potato", "yam", "tuber"),
        ("apple", "pear", "plum"),
        ("fleece", "wool", "hide"),
        ("hive", "swarm", "colony"),
        ("pond", "lake", "reservoir"),
        ("nursery", "greenhouse", "conservatory"),
    )
}

FARM = Lexicon("farm", _POOLS, _PARAMS, _COMMON, _VERBS, _NOUNS)

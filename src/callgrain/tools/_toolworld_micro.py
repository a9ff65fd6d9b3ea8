"""The micro universe: some hundred tools in a few hundred one-token words.

Sixteen verbs times twenty-four nouns. Every surface word stands for exactly one verb, noun or
parameter, so a request has one reading.
"""

from __future__ import annotations

from functools import lru_cache

from callgrain.core.types import Json
from callgrain.tools._toolworld_small import Lexicon, Verb, words

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

_VERBS: dict[str, Verb] = {
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


MICRO = Lexicon("micro", _POOLS, _PARAMS, _ANY, _VERBS, _NOUNS)


@lru_cache(maxsize=1)
def vocabulary() -> tuple[str, ...]:
    """Every word that `toolworld:micro` can say, sorted, whatever the seed.

    Tool names are two words, `verb` and `_noun`, and a parameter is one with the sign behind it, `city=`;
    everything else is parted by blanks.
    """
    return tuple(sorted({*_GLUE.split(), *_SPOKEN.split(), *words(MICRO)}))

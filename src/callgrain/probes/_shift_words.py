"""A request in other words: the frame around it and the verb at its start, never a value.

By rule and without a model, so that the right answer cannot have changed; what is not known for an order
is put in a frame as a whole. Requests in lower case keep to the few words of the small worlds.
"""

from __future__ import annotations

import re
from random import Random

from callgrain.core.types import Message
from callgrain.sources._wrapping import SkipError

_POLITE = re.compile(
    r"^(?:please|kindly|(?:could|can|would) you(?: please)?|i(?:'d| would) like you to|i (?:need|want) you to)\s+", re.I
)
_WISH = re.compile(r"^(?:i (?:need|want) to|i(?:'d| would) like to)\s+", re.IGNORECASE)
"""A wish of the speaker's own: who is to do what is not for a paraphrase to change."""
_QUESTION = re.compile(
    r"^(?:what|how|when|where|who|whom|whose|which|why|is|are|was|were|do|does|did|has|have|will|may|should)\b", re.I
)
_OTHER_VERBS = (
    ("get the details of", "show me more about"),
    ("show me more about", "get the details of"),
    ("leave a review for", "review"),
    ("make a booking with", "reserve"),
    ("look for", "search for"),
    ("search for", "find"),
    ("find", "look for"),
    ("reserve", "book"),
    ("book", "reserve"),
    ("call off", "cancel"),
    ("cancel", "call off"),
    ("send back", "return"),
    ("calculate", "work out"),
    ("compute", "calculate"),
)
"""Beginnings of orders, and others that mean the same."""
_ORDERS = ("Would you {}?", "What I need from you is this: {}.", "Be so kind and {}.", "My request is that you {}.")
_WISHES = ("I am hoping to {}.", "It is my wish to {}.", "What I have in mind is to {}.")
_SMALL = ("please {}", "kindly {}", "could you {}")


def in_other_words(messages: tuple[Message, ...], rng: Random) -> tuple[Message, ...]:
    """The conversation with its last request paraphrased. Raises SkipError where it does not end in one."""
    if not messages or messages[-1].role != "user" or not messages[-1].text.strip():
        raise SkipError("no request at the end")
    said = paraphrase(messages[-1].text, rng)
    return (*messages[:-1], messages[-1].model_copy(update={"text": said}))


def paraphrase(text: str, rng: Random) -> str:
    """The request in another frame, its first verb exchanged where that is safe."""
    whole = text.strip()
    if whole == whole.lower():
        if _WISH.match(whole):
            return whole.removesuffix(" please") if whole.endswith(" please") else f"{whole} please"
        core = _POLITE.sub("", whole).removesuffix(" please")
        return next(said for frame in rng.sample(_SMALL, len(_SMALL)) if (said := frame.format(core)) != whole)
    wish = _WISH.match(whole)
    framed = wish or _POLITE.match(whole)
    core = whole[framed.end() :] if framed else whole
    is_order = framed is not None or any(core.lower().startswith(f"{start} ") for start, _ in _OTHER_VERBS)
    if not is_order or "\n" in core or re.search(r"[.?!]\s", core):
        said = "Here is a question" if _QUESTION.match(whole) else "Here is my request"
        return f"{said}: {whole}"
    core = core.rstrip(" .?!")
    if wish:
        return rng.choice(_WISHES).format(core)
    core = _exchanged(core)
    return rng.choice(_ORDERS).format(core[:1].lower() + core[1:])


def _exchanged(core: str) -> str:
    for start, other in _OTHER_VERBS:
        if core.lower().startswith(f"{start} "):
            return other + core[len(start) :]
    return core


def with_sentence(text: str, sentence: str, clause: str) -> str:
    """A text with one more sentence behind it; where it is written small and without stops, with a clause."""
    said = text.rstrip()
    if said[-1:] in (".", "?", "!") or said != said.lower():
        return f"{said}{'' if said[-1:] in ('.', '?', '!') else '.'} {sentence}"
    return f"{said} {clause}"

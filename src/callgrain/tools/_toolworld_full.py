"""The full universe: ordinary JSON-Schema tools over some thirty entities, in English.

An entity has an archetype (place, event, transport, product), an archetype has actions, and beside
them stand general tools that are really computed: money, dates, mail. A seed drops some tools and
chooses which optional parameters there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from callgrain.core.canonical import text_key
from callgrain.core.types import Json, Mutates, Tool
from callgrain.tools._toolworld import Compute, Field, Kind, Param, Spec, Universe, schema_of, seeded, with_article
from callgrain.tools._toolworld_entities import Entity
from callgrain.tools._toolworld_general import GENERAL
from callgrain.tools._toolworld_kinds import base_kinds, identifier

_ENTITIES: dict[str, str] = {
    "place": "hotel apartment campsite restaurant spa doctor dentist lawyer hairdresser tutor",
    "event": "concert play exhibition festival workshop lecture",
    "transport": "flight train ferry coach",
    "product": "laptop phone camera bicycle sofa jacket printer watch tent guitar",
}
_ALSO = {
    "apartment": ("apartment", "flat"),
    "doctor": ("doctor", "physician"),
    "lawyer": ("lawyer", "attorney"),
    "lecture": ("lecture", "talk"),
    "bicycle": ("bicycle", "bike"),
    "sofa": ("sofa", "couch"),
    "play": ("play", "theatre play"),
}
DROPPED_PERCENT = 8
"""Share of the entities' tools that a seed leaves out."""


@dataclass(frozen=True)
class _Action:
    """A tool in the making."""

    name: str
    about: str
    mutates: Mutates
    openers: str
    params: tuple[Param, ...]
    fields: tuple[Field, ...]
    compute: Compute


def _p(name: str, kind: str, cues: str, question: str = "", **more: Any) -> Param:
    """A parameter whose cues are parted by `|`; no cue means that an opener has its place."""
    return Param(name, kind, tuple(filter(None, cues.split("|"))), question=question, **more)


_DATE = _p("date", "date", "on {}|for {}", "For which date?", about="date, YYYY-MM-DD")
_CITY = _p("city", "city", "in {}", "In which city?", about="name of the city")
_CAP = _p("max_price", "amount", "for at most {}|for no more than {}", required=False, about="highest price")
_GUEST = _p("guest_name", "person", "under the name {}|in the name of {}", "In whose name?", about="full name")
_WHY = _p("reason", "reason", "because of {}|giving {} as the reason", required=False, about="why it is cancelled")
_NIGHTS = _p("nights", "count", "for {} nights", "For how many nights?", about="number of nights")
_FOOD = _p("cuisine", "cuisine", "with {} food|serving {} food", required=False, about="kind of food")
_STARS = _p("rating", "rating", "with a rating of {}|giving {} out of 5", "How many stars?", about="stars, 1 to 5")
_QUANTITY = _p("quantity", "count", "in a quantity of {}", "How many do you want?", about="how many")
_TICKETS = replace(_QUANTITY, cues=("for {} people",), question="How many tickets?", about="number of tickets")
_SEATS = replace(_QUANTITY, name="seats", cues=("with {} seats",), required=False, default=1, about="number of seats")
_SECTION = _p("seat_class", "seat_class", "in the {} section", required=False, default="standard", about="section")
_SHIP = _p("ship_to", "city", "with delivery to {}|shipped to {}", "To which city should it be sent?", about="city")
_NEW_DATE = _p("new_date", "date", "to {}", "To which date?", about="date, YYYY-MM-DD")
_SEARCH: dict[str, tuple[Param, ...]] = {
    "place": (_CITY, _CAP),
    "event": (_CITY, _p("genre", "genre", "in the {} genre", required=False, about="genre")),
    "transport": (
        _p("origin", "city", "from {}", "From which city?", about="city of departure"),
        _p("destination", "city", "to {}", "To which city?", about="city of arrival"),
        _DATE,
        _p("travel_class", "travel_class", "in {} class", required=False, default="economy", about="class"),
    ),
    "product": (
        _p("brand", "brand", "made by {}|from the brand {}", "Which brand?", about="maker"),
        _CAP,
        _p("colour", "colour", "in {}", required=False, about="colour"),
    ),
}
_NAME, _SCORE = Field("name", "name", "name"), Field("rating", "score", "rating")


def _the(e: Entity) -> Param:
    return _p(e.id, e.id, "", f"Which {e.noun} do you mean?", vague=f"the {e.noun}", about=f"id of the {e.noun}")


def _booked(e: Entity) -> Param:
    said = f"{e.noun} {e.booking}"
    question = f"Which {said} do you mean?"
    return _p(e.booking_id, e.booking_id, "", question, vague=f"my {said}", about=f"id of the {e.booking}")


def _price(e: Entity) -> Field:
    return Field("price", "amount", "price", (f"the price of that {e.noun}", f"that {e.noun}'s price"))


def _town(e: Entity) -> Field:
    return Field("city", "city", "city", (f"the city of that {e.noun}", f"the city that {e.noun} is in"))


def _comes(e: Entity) -> Field:
    return Field("delivery_date", "date", "delivery date", (f"the delivery date of that {e.noun} order",))


def _looking(e: Entity) -> list[_Action]:
    """Search and details."""
    n, town = e.noun, (_town(e),) if e.archetype in ("place", "event") else ()
    found = (Field(e.id, e.id, f"{n} id", (f"that {n}",)), _NAME, _price(e), *town)
    known: tuple[Field, ...] = (_NAME, _price(e), *town)
    if e.archetype == "event":
        known += (Field("date", "date", "date", (f"the date of that {n}",)),)
    else:
        known += (_SCORE,)
    if e.archetype == "place":
        known += (Field("email", "email", "email address", (f"the email address of that {n}",)),)
    given = _SEARCH[e.archetype] + ((_FOOD,) if n == "restaurant" else ())
    opened = f"get the details of {{{e.id}}}|show me more about {{{e.id}}}"
    return [
        _Action(
            f"search_{n}", "Search for a {n}.", "no", "find {a}|look for {a}|search for {a}", given, found, e.search
        ),
        _Action(f"get_{n}_details", "Get the details of a {n}.", "no", opened, (_the(e),), known, e.details),
    ]


def _buying(e: Entity) -> _Action:
    """Booking a place or a seat, buying tickets, ordering a product."""
    n, it = e.noun, f"{{{e.id}}}"
    fields = (
        Field(e.booking_id, e.booking_id, f"{n} {e.booking} id", (f"that {n} {e.booking}",)),
        Field("total_price", "amount", "total price", (f"the total price of that {n} {e.booking}",)),
    )
    if e.archetype == "place":
        params = (_the(e), _DATE, _GUEST) + ((_NIGHTS,) if n in ("hotel", "apartment", "campsite") else ())
        said = f"book {it}|reserve {it}|make a booking with {it}"
        return _Action(f"book_{n}", "Book a {n} by its id.", "yes", said, params, fields, e.purchase)
    if e.archetype == "event":
        said, params = f"buy tickets for {it}|order tickets for {it}", (_the(e), _TICKETS, _SECTION)
        return _Action(f"buy_{n}_tickets", "Buy tickets for a {n}.", "yes", said, params, fields, e.purchase)
    if e.archetype == "transport":
        said, params = f"book {it}|reserve a seat on {it}", (_the(e), _GUEST, _SEATS)
        return _Action(f"book_{n}", "Book a {n} by its id.", "yes", said, params, fields, e.purchase)
    said, params = f"order {it}|buy {it}", (_the(e), _QUANTITY, _SHIP)
    return _Action(f"order_{n}", "Order a {n} by its id.", "yes", said, params, (*fields, _comes(e)), e.purchase)


def _afterwards(e: Entity) -> list[_Action]:
    """What is done with a booking or an order."""
    n, it = e.noun, f"{{{e.booking_id}}}"
    refund = Field("refund", "amount", "refund", (f"that {n} refund",))
    if e.archetype == "product":
        why = _p("reason", "defect", "because it is {}|as it is {}", "Why is it sent back?", about="what is wrong")
        place = Field("city", "city", "current city", (f"the current city of that {n} order",))
        said = f"track {it}|check where {it} is"
        return [
            _Action(
                f"return_{n}",
                f"Send an ordered {n} back.",
                "yes",
                f"send back {it}|return {it}",
                (_booked(e), why),
                (refund,),
                e.refund,
            ),
            _Action(
                f"track_{n}_order",
                f"See where an ordered {n} is.",
                "no",
                said,
                (_booked(e),),
                (place, _comes(e)),
                e.track,
            ),
        ]
    said = f"cancel {it}|call off {it}"
    out = [
        _Action(
            f"cancel_{n}_{e.booking}",
            f"Cancel a {{n}} {e.booking}.",
            "yes",
            said,
            (_booked(e), _WHY),
            (refund,),
            e.refund,
        )
    ]
    if e.archetype != "event":
        fee = Field("change_fee", "amount", "change fee", (f"that {n} change fee",))
        about, said = f"Move a {{n}} {e.booking} to another date.", f"move {it}|reschedule {it}"
        out.append(_Action(f"move_{n}_booking", about, "yes", said, (_booked(e), _NEW_DATE), (fee,), e.move))
    return out


def _besides(e: Entity) -> list[_Action]:
    """Reviews, delays, stock."""
    n, it = e.noun, f"{{{e.id}}}"
    out: list[_Action] = []
    if e.archetype in ("place", "product"):
        made, said = Field("review_id", "review_id", "review id"), f"review {it}|leave a review for {it}"
        out.append(
            _Action(f"review_{n}", "Leave a review for a {n}.", "yes", said, (_the(e), _STARS), (made,), e.review)
        )
    if e.archetype == "product":
        left, said = (
            Field("units_left", "stock", "number of units left"),
            f"check the stock of {it}|see how many are left of {it}",
        )
        about = "See how many units of a {n} are left in a city."
        out.append(_Action(f"check_{n}_stock", about, "no", said, (_the(e), _CITY), (left,), e.stock))
    if e.archetype == "transport":
        late, said = (
            Field("delay_minutes", "delay", "delay in minutes"),
            f"check the delay of {it}|see how late {it} is",
        )
        out.append(
            _Action(
                f"get_{n}_delay", "See how late a {n} is on a date.", "no", said, (_the(e), _DATE), (late,), e.delay
            )
        )
    return out


def _returns(fields: tuple[Field, ...], kinds: Mapping[str, Kind]) -> dict[str, Json]:
    """Schema of a result; a kind that no parameter takes is known by its last word alone."""
    loose = {
        "temperature": "integer",
        "km": "integer",
        "stock": "integer",
        "score": "integer",
        "delay": "integer",
        "day_count": "integer",
    }
    properties: dict[str, Json] = {}
    for f in fields:
        schema = dict(kinds[f.kind].schema) if f.kind in kinds else {"type": loose.get(f.kind, "string")}
        properties[f.name] = {**schema, "description": f.phrase}
    return {"type": "object", "properties": properties}


def _some(params: tuple[Param, ...], rng: Random) -> tuple[Param, ...]:
    """The parameters that a seed keeps: every required one, most of the optional ones."""
    return tuple(p for p in params if p.required or rng.random() < 0.8)


def _spec(action: _Action, noun: str, seed: int, kinds: Mapping[str, Kind]) -> Spec:
    rng = seeded("full-params", seed, action.name)
    params = _some(action.params, rng)
    openers = tuple(
        o.replace("{a}", with_article(n))
        for o in action.openers.split("|")
        for n in (_ALSO.get(noun, (noun,)) if "{a}" in o else (noun,))
    )
    about = action.about.replace(" a {n}", f" {with_article(noun)}")
    tool = Tool(
        name=action.name,
        description=about,
        parameters=schema_of(params, kinds),
        returns=_returns(action.fields, kinds),
        mutates=action.mutates,
    )
    return Spec(tool, action.name.split("_")[0], noun, params, action.fields, action.compute, openers)


def build(seed: int) -> Universe:
    """The full universe of `seed`: about 180 tools."""
    entities = [Entity(n, archetype, seed) for archetype, nouns in _ENTITIES.items() for n in nouns.split()]
    kinds = base_kinds()
    for e in entities:
        kinds[e.id] = identifier(e.id, e.prefix, e.noun)
        kinds[e.booking_id] = identifier(e.booking_id, e.prefix + e.booking[0].upper(), f"{e.noun} {e.booking}")
    specs: dict[str, Spec] = {}
    for e in entities:
        for action in (*_looking(e), _buying(e), *_afterwards(e), *_besides(e)):
            if text_key("full-drop", str(seed), action.name) % 100 >= DROPPED_PERCENT:
                specs[action.name] = _spec(action, e.noun, seed, kinds)
    for name, about, mutates, noun, openers, params, fields, compute in GENERAL:
        specs[name] = _spec(_Action(name, about, mutates, openers, params, fields, compute), noun, seed, kinds)
    return Universe("full", seed, kinds, specs)

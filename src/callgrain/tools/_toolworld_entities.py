"""Entities of the full universe: what the in-memory world knows of each id.

Every id has one record, so that a search, the details and a booking agree on the price.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from callgrain.core.types import Json
from callgrain.tools._catalogue import ToolError
from callgrain.tools._toolworld import world_key
from callgrain.tools._toolworld_general import money
from callgrain.tools._toolworld_kinds import CITIES, FIRST_DAY

_ADJECTIVE = ["Blue", "Old", "Golden", "Royal", "Quiet", "Green", "Silver", "Grand"]


@dataclass(frozen=True)
class Entity:
    """One noun of the world: its archetype, its ids and its records."""

    noun: str
    archetype: str
    seed: int

    @property
    def prefix(self) -> str:
        return (
            self.noun[:2].upper()
            if self.noun not in ("train", "coach", "camera", "lawyer", "ferry")
            else self.noun[:3].upper()
        )

    @property
    def id(self) -> str:
        return f"{self.noun}_id"

    @property
    def booking(self) -> str:
        """What a purchase is called."""
        return "booking" if self.archetype in ("place", "transport") else "order"

    @property
    def booking_id(self) -> str:
        return f"{self.noun}_{self.booking}_id"

    def record(self, identity: str) -> dict[str, Json]:
        """What the world knows of one id."""
        key = world_key(self.seed, self.noun, identity)
        city = CITIES[key % len(CITIES)]
        name = f"{_ADJECTIVE[key // 64 % 8]} {self.noun.capitalize()}"
        return {
            "name": name,
            "city": city,
            "price": money(20 + key // 512 % 1800 / 4),
            "rating": 1 + key // 1024 % 5,
            "email": f"{self.noun}{identity[-4:]}@example.org",
            "date": (FIRST_DAY + timedelta(days=key // 4096 % 700)).isoformat(),
        }

    def search(self, given: Mapping[str, Json]) -> Json:
        """The first id, in an order that hangs on the query, whose record satisfies it."""
        start = world_key(self.seed, "find", self.noun, given)
        for step in range(2000):
            identity = f"{self.prefix}-{1000 + (start + step * 7919) % 9000}"
            found = self.record(identity)
            if "city" in given and found["city"] != given["city"]:
                continue
            if found["price"] <= given.get("max_price", found["price"]):
                out = {self.id: identity, "name": found["name"], "price": found["price"]}
                return out | ({"city": found["city"]} if self.archetype in ("place", "event") else {})
        raise ToolError(f"no {self.noun} was found")

    def purchase(self, given: Mapping[str, Json]) -> Json:
        """A new booking or order; the total is the record's price times how many."""
        many = next((given[k] for k in ("quantity", "seats", "nights") if k in given), 1)
        out = {
            self.booking_id: self._new("buy", given),
            "total_price": money(self.record(given[self.id])["price"] * many),
        }
        if self.archetype == "product":
            out["delivery_date"] = self._later(given)
        return out

    def _new(self, verb: str, given: Mapping[str, Json]) -> str:
        return f"{self.prefix}{self.booking[0].upper()}-{1000 + world_key(self.seed, verb, self.noun, given) % 9000}"

    def _later(self, given: Mapping[str, Json]) -> str:
        return (FIRST_DAY + timedelta(days=world_key(self.seed, "later", self.noun, given) % 700)).isoformat()

    def details(self, given: Mapping[str, Json]) -> Json:
        """The record of an id."""
        kept = {"place": ("name", "city", "price", "rating", "email"), "event": ("name", "city", "price", "date")}
        found = self.record(given[self.id])
        return {k: found[k] for k in kept.get(self.archetype, ("name", "price", "rating"))}

    def refund(self, given: Mapping[str, Json]) -> Json:
        """Cancelling or returning: what is paid back."""
        return {"refund": money(world_key(self.seed, "refund", self.noun, given) % 4000 / 10 + 5)}

    def move(self, given: Mapping[str, Json]) -> Json:
        """Another date for a booking; the price of the change hangs on both."""
        return {"change_fee": money(world_key(self.seed, "fee", self.noun, given) % 400 / 10 + 2)}

    def track(self, given: Mapping[str, Json]) -> Json:
        """Where an order is, and when it comes."""
        return {"city": CITIES[world_key(self.seed, "track", given) % len(CITIES)], "delivery_date": self._later(given)}

    def review(self, given: Mapping[str, Json]) -> Json:
        """A review was stored."""
        return {"review_id": f"RV-{1000 + world_key(self.seed, 'review', self.noun, given) % 9000}"}

    def stock(self, given: Mapping[str, Json]) -> Json:
        """How many are left in a city."""
        return {"units_left": world_key(self.seed, "stock", given) % 30}

    def delay(self, given: Mapping[str, Json]) -> Json:
        """How late a departure is."""
        return {"delay_minutes": world_key(self.seed, "delay", given) % 25 * 5}

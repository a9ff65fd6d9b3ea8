"""Kinds of the full universe: what its values are, and how a person says them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, timedelta
from random import Random
from typing import Any

from callgrain.core.types import Json
from callgrain.tools._toolworld import Kind, whole

CITIES = (
    "Paris",
    "Rome",
    "Oslo",
    "Cairo",
    "Lima",
    "Delhi",
    "Tokyo",
    "Milan",
    "Seoul",
    "Quito",
    "Dakar",
    "Tunis",
    "Berlin",
    "Madrid",
    "Vienna",
    "Prague",
    "Lisbon",
    "Dublin",
    "Athens",
    "Warsaw",
    "Zurich",
    "Havana",
    "Bogota",
    "Nairobi",
    "Sydney",
    "Boston",
    "Denver",
    "Miami",
    "Geneva",
    "Bergen",
    "Toronto",
    "Chicago",
    "Osaka",
)
FIRST = [
    "Ana",
    "Ben",
    "Chloe",
    "David",
    "Elena",
    "Farid",
    "Grace",
    "Hugo",
    "Ines",
    "Jonas",
    "Kira",
    "Liam",
    "Mira",
    "Noah",
    "Olga",
    "Pavel",
    "Rosa",
    "Samir",
    "Tara",
    "Yuki",
]
LAST = [
    "Silva",
    "Novak",
    "Tanaka",
    "Meyer",
    "Rossi",
    "Haddad",
    "Larsen",
    "Okoye",
    "Patel",
    "Moreau",
    "Kim",
    "Costa",
    "Weber",
    "Nilsson",
    "Ortiz",
    "Kovacs",
    "Dubois",
]
WORDS = {
    "currency": {
        "USD": "US dollars",
        "EUR": "euros",
        "GBP": "British pounds",
        "JPY": "Japanese yen",
        "CHF": "Swiss francs",
    },
    "cuisine": ["italian", "indian", "thai", "mexican", "greek", "japanese", "french", "turkish"],
    "genre": ["jazz", "rock", "classical", "comedy", "folk", "modern"],
    "colour": ["black", "white", "blue", "green", "red", "grey"],
    "brand": ["Norvik", "Altera", "Kesto", "Brumel", "Tandia", "Opelo"],
    "seat_class": ["standard", "premium", "balcony"],
    "travel_class": ["economy", "business", "first"],
    "reason": ["illness", "weather", "cost", "delay"],
    "defect": ["damaged", "too small", "too heavy", "not as described"],
    "title": [
        "Quarterly review",
        "Budget plan",
        "Team lunch",
        "Site visit",
        "Travel plans",
        "Dentist visit",
        "Project kickoff",
        "Garden party",
    ],
}
FIRST_DAY = date(2026, 1, 1)
DAYS = 720
PEOPLE = tuple(f"{first} {last}" for first in FIRST for last in LAST)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_EMAIL = re.compile(r"[a-z0-9._]{1,64}@[a-z0-9.\-]{1,64}")
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def email_of(person: str) -> str:
    """`"Ana Silva"` -> `"ana.silva@example.org"`."""
    return person.lower().replace(" ", ".") + "@example.org"


def _is_date(value: Json) -> bool:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _say_date(value: Json, rng: Random) -> str:
    day = date.fromisoformat(value)
    month = MONTHS[day.month - 1]
    return rng.choice((value, f"{month} {day.day}, {day.year}", f"{day.day} {month} {day.year}"))


def _say_time(value: Json, rng: Random) -> str:
    hour, minute = int(value[:2]), value[3:]
    return rng.choice((value, f"{hour % 12 or 12}:{minute} {'am' if hour < 12 else 'pm'}"))


def _plain(value: Json, _: Random) -> str:
    return str(value)


def _quoted(value: Json, _: Random) -> str:
    return f'"{value}"'


def number_text(value: Json) -> str:
    """A number as the replies and requests write it: `420`, `99.5`."""
    return str(int(value)) if float(value).is_integer() else str(value)


def _draw_amount(rng: Random) -> Json:
    """A whole amount is an integer: nobody writes 385.0."""
    cents = rng.choice((100 * rng.randint(20, 900), 50 * rng.randint(40, 1800), rng.randint(2000, 90000)))
    return cents // 100 if cents % 100 == 0 else cents / 100


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def _integers(name: str, low: int, high: int, said: str = "{}") -> Kind:
    schema = {"type": "integer", "minimum": low, "maximum": high}
    return Kind(
        name,
        schema,
        lambda rng: rng.randint(low, high),
        lambda v: whole(v) and low <= v <= high,
        lambda v, _: said.format(v),
    )


def enum(name: str, values: Sequence[str], spoken: dict[str, str] | None = None) -> Kind:
    """A closed list of words; `spoken` gives another way of saying a value."""
    known = frozenset(values)

    def says(value: Json, rng: Random) -> str:
        return rng.choice((value, spoken[value])) if spoken else str(value)

    schema: dict[str, Json] = {"type": "string", "enum": list(values)}
    return Kind(name, schema, lambda rng: rng.choice(values), lambda v: isinstance(v, str) and v in known, says)


def identifier(name: str, prefix: str, said: str) -> Kind:
    """Ids such as `HO-4821`, said as `"hotel HO-4821"`."""
    pattern = re.compile(rf"{prefix}-[1-9]\d{{3}}")
    return Kind(
        name,
        {"type": "string", "pattern": f"^{prefix}-[1-9][0-9]{{3}}$"},
        lambda rng: f"{prefix}-{rng.randint(1000, 9999)}",
        lambda v: isinstance(v, str) and pattern.fullmatch(v) is not None,
        lambda v, _: f"{said} {v}",
    )


def _text(name: str, schema: dict[str, Json], values: Sequence[str], holds: Any, says: Any) -> Kind:
    return Kind(name, {"type": "string", **schema}, lambda rng: rng.choice(values), holds, says)


def _is_time(value: Json) -> bool:
    return isinstance(value, str) and _TIME.fullmatch(value) is not None


def _is_email(value: Json) -> bool:
    return isinstance(value, str) and _EMAIL.fullmatch(value) is not None


def _is_city(value: Json) -> bool:
    return isinstance(value, str) and value in CITIES


def _is_text(value: Json) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200


def base_kinds() -> dict[str, Kind]:
    """Kinds that do not depend on any entity."""
    days = [(FIRST_DAY + timedelta(days=n)).isoformat() for n in range(DAYS)]
    times = [f"{h:02d}:{m:02d}" for h in range(7, 22) for m in (0, 15, 30, 45)]
    kinds = [
        _text("city", {}, CITIES, _is_city, _plain),
        _text("date", {"format": "date"}, days, _is_date, _say_date),
        _text(
            "time",
            {"pattern": "^[0-2][0-9]:[0-5][0-9]$"},
            times,
            _is_time,
            _say_time,
        ),
        _text("person", {}, PEOPLE, _is_text, _plain),
        _text(
            "email",
            {"format": "email"},
            [email_of(p) for p in PEOPLE],
            _is_email,
            _plain,
        ),
        _text("title", {}, list(WORDS["title"]), _is_text, _quoted),
        Kind(
            "amount",
            {"type": "number"},
            _draw_amount,
            _is_number,
            lambda v, _: number_text(v),
        ),
        _integers("count", 1, 30),
        _integers("days", 1, 400),
        _integers("minutes", 1, 2000),
        _integers("rating", 1, 5),
        _integers("percent", 1, 90, "{} percent"),
    ]
    kinds += [
        enum(name, list(words), words if isinstance(words, dict) else None)
        for name, words in WORDS.items()
        if name != "title"
    ]
    return {kind.name: kind for kind in kinds}

"""Tools of the full universe that are really computed: money, dates, mail, weather."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from callgrain.core.types import Json, Mutates
from callgrain.tools._catalogue import ToolError
from callgrain.tools._toolworld import Compute, Field, Param, world_key
from callgrain.tools._toolworld_kinds import CITIES, WEEKDAYS, email_of

RATES = {"USD": 1.0, "EUR": 0.92, "GBP": 0.78, "JPY": 152.0, "CHF": 0.88}
"""Units of each currency for one US dollar; fixed, since the world must not change."""


def money(value: float) -> Json:
    """Rounded to cents; a whole amount is an integer, as people write it."""
    cents = round(value, 2)
    return int(cents) if float(cents).is_integer() else cents


def _convert(a: Mapping[str, Json]) -> Json:
    rate = RATES[a["to_currency"]] / RATES[a["from_currency"]]
    return {"converted_amount": money(a["amount"] * rate), "rate": round(rate, 4)}


def _discount(a: Mapping[str, Json]) -> Json:
    saved = a["price"] * a["percent"] / 100
    return {"discounted_price": money(a["price"] - saved), "saved": money(saved)}


def _tip(a: Mapping[str, Json]) -> Json:
    tip = a["amount"] * a["percent"] / 100
    return {"tip": money(tip), "total_with_tip": money(a["amount"] + tip)}


def _shift(a: Mapping[str, Json]) -> Json:
    try:
        return {"new_date": (date.fromisoformat(a["date"]) + timedelta(days=int(a["days"]))).isoformat()}
    except OverflowError as error:
        raise ToolError("the date is out of range") from error


def _between(a: Mapping[str, Json]) -> Json:
    gap = abs((date.fromisoformat(a["end_date"]) - date.fromisoformat(a["start_date"])).days)
    return {"days": gap}


def _weather(a: Mapping[str, Json]) -> Json:
    key = world_key("weather", a["city"], a["date"])
    return {"condition": ("sunny", "cloudy", "rainy", "windy", "foggy")[key % 5], "temperature_c": key // 8 % 35 - 5}


def _route(a: Mapping[str, Json]) -> Json:
    km = 80 + world_key("route", sorted((a["origin"], a["destination"]))) % 1400
    return {"distance_km": km, "minutes": 20 + km}


def _contact(a: Mapping[str, Json]) -> Json:
    key = world_key("contact", a["name"])
    return {"email": email_of(a["name"]), "city": CITIES[key % len(CITIES)], "phone": f"555-{key % 9000 + 1000}"}


def _made(field: str, prefix: str) -> Compute:
    return lambda a: {field: f"{prefix}-{world_key(field, a) % 9000 + 1000}"}


def _p(name: str, kind: str, cues: str, question: str = "", **more: Any) -> Param:
    """A parameter whose cues are parted by `|`; an empty cue list means that an opener has its place."""
    return Param(name, kind, tuple(filter(None, cues.split("|"))), question=question, **more)


_AMOUNT = _p("amount", "amount", "", "What is the amount?", vague="an amount", about="amount of money")

# name, description, mutates, noun, openers, params, fields, compute
General = tuple[str, str, Mutates, str, str, tuple[Param, ...], tuple[Field, ...], Compute]
GENERAL: tuple[General, ...] = (
    (
        "convert_currency",
        "Convert an amount of money from one currency to another.",
        "no",
        "converted amount",
        "convert {amount}|exchange {amount}",
        (
            _AMOUNT,
            _p(
                "from_currency",
                "currency",
                "from {}",
                "Which currency is it in?",
                about="ISO code to convert from",
            ),
            _p(
                "to_currency",
                "currency",
                "to {}|into {}",
                "Into which currency?",
                about="ISO code to convert to",
            ),
        ),
        (Field("converted_amount", "amount", "converted amount", ("that converted amount",)),),
        _convert,
    ),
    (
        "compute_total",
        "Multiply a unit price by a quantity.",
        "no",
        "total",
        "work out the total for a unit price of {unit_price}|calculate the total at {unit_price} per unit",
        (
            _p(
                "unit_price",
                "amount",
                "",
                "What is the unit price?",
                vague="the usual amount",
                about="price of one unit",
            ),
            _p("quantity", "count", "for {} units|times {}", "How many units?", about="number of units"),
        ),
        (Field("total", "amount", "total", ("that total",)),),
        lambda a: {"total": money(a["unit_price"] * a["quantity"])},
    ),
    (
        "apply_discount",
        "Take a percentage off a price.",
        "no",
        "discounted price",
        "apply a discount to {price}|work out a reduction on {price}",
        (
            _p("price", "amount", "", "What is the price?", vague="the price", about="price before the discount"),
            _p("percent", "percent", "of {}", "How many percent off?", about="discount in percent"),
        ),
        (Field("discounted_price", "amount", "discounted price", ("that discounted price",)),),
        _discount,
    ),
    (
        "split_amount",
        "Split an amount evenly between people.",
        "no",
        "share",
        "split {amount} evenly|divide {amount} equally",
        (
            _AMOUNT,
            _p(
                "people",
                "count",
                "between {} people|among {} people",
                "Between how many people?",
                about="number of people",
            ),
        ),
        (Field("share", "amount", "share", ("that share",)),),
        lambda a: {"share": money(a["amount"] / a["people"])},
    ),
    (
        "compute_tip",
        "Compute a tip on a bill.",
        "no",
        "tip",
        "calculate a tip on {amount}|work out the tip for {amount}",
        (_AMOUNT, _p("percent", "percent", "at {}", "How many percent?", about="tip in percent")),
        (
            Field("tip", "amount", "tip", ("that tip",)),
            Field("total_with_tip", "amount", "total with tip", ("that total including the tip",)),
        ),
        _tip,
    ),
    (
        "sum_amounts",
        "Add up a list of amounts.",
        "no",
        "sum",
        "add up {amounts}|find the sum of {amounts}",
        (_p("amounts", "amount", "", "Which amounts?", vague="some amounts", about="amounts to add up", many=True),),
        (Field("sum", "amount", "sum", ("that sum",)),),
        lambda a: {"sum": money(sum(a["amounts"]))},
    ),
    (
        "pick_lowest_price",
        "Return the lowest of several prices.",
        "no",
        "lowest price",
        "tell me the lowest of {prices}|pick the lower figure out of {prices}",
        (_p("prices", "amount", "", "Which prices?", vague="some prices", about="prices to compare", many=True),),
        (Field("lowest", "amount", "lowest price", ("that lowest price",)),),
        lambda a: {"lowest": min(a["prices"])},
    ),
    (
        "shift_date",
        "Move a date forward by a number of days.",
        "no",
        "new date",
        "work out the date after {date}|move forward from {date}",
        (
            _p("date", "date", "", "From which date?", vague="a certain date", about="date to start from, YYYY-MM-DD"),
            _p("days", "days", "by {} days|with {} days added", "By how many days?", about="days to add"),
        ),
        (Field("new_date", "date", "new date", ("that new date",)),),
        _shift,
    ),
    (
        "count_days_between",
        "Count the days between two dates.",
        "no",
        "number of days",
        "count the days|work out how many days there are",
        (
            _p("start_date", "date", "from {}", "From which date?", about="first date, YYYY-MM-DD"),
            _p("end_date", "date", "to {}|until {}", "Until which date?", about="second date, YYYY-MM-DD"),
        ),
        (Field("days", "day_count", "number of days"),),
        _between,
    ),
    (
        "get_weekday",
        "Return the day of the week of a date.",
        "no",
        "weekday",
        "tell me which weekday {date} is|look up the day of the week for {date}",
        (_p("date", "date", "", "For which date?", vague="a certain date", about="date, YYYY-MM-DD"),),
        (Field("weekday", "weekday", "weekday"),),
        lambda a: {"weekday": WEEKDAYS[date.fromisoformat(a["date"]).weekday()]},
    ),
    (
        "get_weather",
        "Get the weather forecast for a city on a date.",
        "no",
        "forecast",
        "check the weather|look up the forecast|get the weather forecast",
        (
            _p("city", "city", "in {}|for {}", "For which city?", about="name of the city"),
            _p("date", "date", "on {}", "For which date?", about="date, YYYY-MM-DD"),
        ),
        (Field("condition", "condition", "condition"), Field("temperature_c", "temperature", "temperature in Celsius")),
        _weather,
    ),
    (
        "get_driving_route",
        "Get distance and driving time between two cities.",
        "no",
        "route",
        "get the driving route|work out how far the drive is",
        (
            _p("origin", "city", "from {}", "From which city?", about="city to start from"),
            _p("destination", "city", "to {}", "To which city?", about="city to arrive in"),
        ),
        (Field("distance_km", "km", "distance in km"), Field("minutes", "minutes", "driving time in minutes")),
        _route,
    ),
    (
        "find_contact",
        "Look up a person in the address book.",
        "no",
        "contact",
        "look up the contact details of {name}|find {name} in my address book",
        (_p("name", "person", "", "Whom should I look up?", vague="someone", about="full name of the person"),),
        (
            Field("email", "email", "email address", ("that contact's email address",)),
            Field("city", "city", "home city", ("that contact's home city",)),
        ),
        _contact,
    ),
    (
        "send_email",
        "Send an email.",
        "yes",
        "message",
        "send an email to {to}|email {to}",
        (
            _p("to", "email", "", "Who should get the email?", vague="someone", about="address of the recipient"),
            _p("subject", "title", "with the subject {}|titled {}", "What is the subject?", about="subject line"),
        ),
        (Field("message_id", "message_id", "message id"),),
        _made("message_id", "MS"),
    ),
    (
        "create_reminder",
        "Create a reminder.",
        "yes",
        "reminder",
        "set a reminder|create a reminder",
        (
            _p("title", "title", "called {}|saying {}", "What should it say?", about="text of the reminder"),
            _p("date", "date", "on {}|for {}", "For which date?", about="date, YYYY-MM-DD"),
            _p("time", "time", "at {}", required=False, default="09:00", about="time of day, 24-hour HH:MM"),
        ),
        (Field("reminder_id", "reminder_id", "reminder id"),),
        _made("reminder_id", "RM"),
    ),
    (
        "create_event",
        "Put an event into the calendar and invite people.",
        "yes",
        "event",
        "schedule an event|put an event in my calendar",
        (
            _p("title", "title", "called {}|named {}", "What is it called?", about="name of the event"),
            _p("date", "date", "on {}", "On which date?", about="date, YYYY-MM-DD"),
            _p("time", "time", "starting at {}", "At what time?", about="start, 24-hour HH:MM"),
            _p(
                "attendees",
                "email",
                "with invitations to {}",
                required=False,
                many=True,
                about="email addresses to invite",
            ),
        ),
        (Field("event_id", "event_id", "event id"),),
        _made("event_id", "EV"),
    ),
    (
        "pay_person",
        "Send money to a person.",
        "yes",
        "payment",
        "pay {amount}|send a payment of {amount}",
        (
            _AMOUNT,
            _p("recipient", "person", "to {}", "Who should get the money?", about="full name of the recipient"),
            _p("currency", "currency", "in {}", required=False, default="USD", about="ISO code of the currency"),
        ),
        (Field("payment_id", "payment_id", "payment id"),),
        _made("payment_id", "PM"),
    ),
)

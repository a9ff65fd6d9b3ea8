"""Four sums as an executable world: add, subtract, multiply, divide.

GSM8K's annotations run here. The arithmetic is exact: a decimal is taken as it is spelled
(0.1 is a tenth), whole results are integers, and only a result that no decimal spells ends
as the nearest float. Nothing is ever evaluated as code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction

from callgrain.core.errors import BadInput
from callgrain.core.types import Json, Tool
from callgrain.tools._catalogue import Catalogue, ToolError

LIMIT = 10**30
"""Largest magnitude of an argument or a result; it bounds the cost of every call."""

_NUMBER = {"type": "number"}


def _tool(name: str, description: str, a: str, b: str) -> Tool:
    parameters = {
        "type": "object",
        "properties": {"a": {"type": "number", "description": a}, "b": {"type": "number", "description": b}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    return Tool(name=name, description=description, parameters=parameters, returns=_NUMBER, mutates="no")


TOOLS: tuple[Tool, ...] = (
    _tool("add", "Add two numbers: a + b.", "first number", "second number"),
    _tool("subtract", "Subtract b from a: a - b.", "number to subtract from", "number to subtract"),
    _tool("multiply", "Multiply two numbers: a * b.", "first number", "second number"),
    _tool("divide", "Divide a by b: a / b.", "number to be divided", "number to divide by, not zero"),
)

_SUMS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
}


def exact(value: Json) -> Fraction:
    """The number as it is spelled: 0.1 is 1/10. Raises ToolError for anything but a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ToolError(f"a {type(value).__name__} is no number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ToolError(f"{value} is no finite number")
    if abs(value) > LIMIT:
        raise ToolError(f"a number beyond {LIMIT:.0e}")
    return Fraction(value) if isinstance(value, int) else Fraction(repr(value))


def run(name: str, arguments: Mapping[str, Json]) -> int | float:
    """One sum, arguments bound by name. Raises ToolError, also for a division by zero."""
    if name not in _SUMS:
        raise ToolError(f"no tool named {name!r}")
    if set(arguments) != {"a", "b"}:
        raise ToolError(f"{name} takes exactly a and b, not {', '.join(sorted(arguments)) or 'nothing'}")
    given = (arguments["a"], arguments["b"])
    a, b = exact(given[0]), exact(given[1])
    if name == "divide" and b == 0:
        raise ToolError("division by zero")
    return _number(_SUMS[name](a, b), rounded=any(isinstance(v, float) for v in given))


def _number(value: Fraction, *, rounded: bool) -> int | float:
    """An int where the value is whole, else the nearest float.

    `rounded`: an argument was a float, perhaps a quotient cut at 17 digits. Then a value within
    two units in the last place of a whole number counts as whole, so that 1/3 * 3 is 1.
    """
    if abs(value) > LIMIT:
        raise ToolError(f"the result is beyond {LIMIT:.0e}")
    whole = round(value)
    slack = max(Fraction(1, 10**12), abs(value) / 2**51) if rounded and whole else 0
    if abs(value - whole) <= slack:
        return whole
    return float(value)


class Calculator:
    """The importer behind `calculator`: it takes no argument and touches nothing outside."""

    in_memory = True

    def __call__(self, rest: str = "") -> Catalogue:
        """The catalogue. Raises BadInput where something is written after the name."""
        if rest:
            raise BadInput(f"calculator takes no argument, got {rest!r}", "write just: calculator")
        return Catalogue(spec="calculator", tools=TOOLS, run=run)


plugin = Calculator()

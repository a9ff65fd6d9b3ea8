"""Calls spelt as Python, read as BFCL reads them, and never run.

BFCL takes more than literals: a bare name is its own text, a call in an argument is its source (or
an object, where it has keyword arguments), an Ellipsis is three dots, and arithmetic is worked out.
Positional arguments are not there for it. All of that is kept, so that its verdicts can be; where
it would call Python's `eval`, a small bounded calculator stands.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable
from typing import Any

from callgrain.core.types import Call, Fault, Json
from callgrain.dialects._calls import clean, shown

LENGTH_LIMIT = 100_000
"""Characters of the longest text that is parsed as Python."""

NO_CALL = "no_call"
"""The detail of a Fault for Python in which nothing is called at all, such as `None` or `Sorry`."""

_BITS = 4096
"""Size of the largest whole number that arithmetic may come to: nobody asks for a longer one."""

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip


class _WrongShapeError(ValueError):
    """Python that is no call, or no value that a call can have."""


def read_python(text: str) -> list[Call] | Fault:
    """The calls of `[f(a=1), g(b="x")]` or `f(a=1)`.

    Text that is no Python gives the Fault `unparsable`, Python that is no calls `wrong_shape`, with
    the detail NO_CALL where nothing in it is one.
    """
    tree: ast.expr | None = None
    if len(text) > LENGTH_LIMIT:
        return _fault("unparsable", f"at most {LENGTH_LIMIT} characters", text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python thinks of a model's escape sequences is nobody's news
            tree = ast.parse(text, mode="eval").body
        nodes = [tree] if isinstance(tree, ast.Call) else getattr(tree, "elts", None)
        if nodes is None:
            raise _WrongShapeError("calls")
        return [_call(node) for node in nodes]
    except _WrongShapeError as error:
        called = tree is not None and any(isinstance(node, ast.Call) for node in ast.walk(tree))
        return _fault("wrong_shape", str(error), text, "" if called else NO_CALL)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError) as error:
        return _fault("unparsable", str(error), text)


def _fault(kind: str, expected: str, text: str, detail: str = "") -> Fault:
    wanted = clean(expected[:200]) or "calls in Python"
    return Fault(kind=kind, where="calls", expected=wanted, given=shown(text), detail=detail)


def _call(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call):
        raise _WrongShapeError("calls and nothing else")
    return Call(name=_name(node.func), arguments=clean(_arguments(node)))


def _name(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise _WrongShapeError("a function's name, with dots at most")
    return ".".join([node.id, *reversed(parts)])


def _arguments(node: ast.Call) -> dict[str, Json]:
    """The keyword arguments; the last one counts where one is given twice."""
    if any(keyword.arg is None for keyword in node.keywords):
        raise _WrongShapeError("arguments by name")
    return {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}


def _value(node: ast.expr | None) -> Json:
    if isinstance(node, ast.Constant):
        return _constant(node.value)
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        keys = [_value(key) for key in node.keys]
        if not all(isinstance(key, str) for key in keys):
            raise _WrongShapeError("keys that are strings")
        return dict(zip(keys, map(_value, node.values), strict=True))
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.UnaryOp | ast.BinOp):
        return _constant(_worked_out(node))
    if isinstance(node, ast.Call):
        return {_name(node.func): _arguments(node)} if node.keywords else ast.unparse(node)
    if isinstance(node, ast.Subscript):
        return ast.unparse(node)
    raise _WrongShapeError(f"a value, not {type(node).__name__}")


def _constant(value: Any) -> Json:
    if value is Ellipsis:
        return "..."
    if isinstance(value, str | int | float | bool | None):
        return value
    raise _WrongShapeError(f"a value that JSON has, not {type(value).__name__}")


def _worked_out(node: ast.expr) -> Any:
    """The number (or joined string) that arithmetic on constants comes to. Raises ValueError, ArithmeticError."""
    if isinstance(node, ast.Constant):
        return _constant(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _worked_out(node.operand)
        if not isinstance(value, int | float):
            raise _WrongShapeError("a sign before a number only")
        return -value if isinstance(node.op, ast.USub) else +value
    if not isinstance(node, ast.BinOp) or type(node.op) not in _OPERATORS:
        raise _WrongShapeError("arithmetic on constants only")
    left, right = _worked_out(node.left), _worked_out(node.right)
    if isinstance(left, str) and isinstance(right, str) and isinstance(node.op, ast.Add):
        return left + right
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        raise _WrongShapeError("arithmetic on numbers only")
    if isinstance(left, int) and isinstance(right, int):
        power = isinstance(node.op, ast.Pow)
        if (power and abs(right) > _BITS) or left.bit_length() * (abs(right) if power else 1) > _BITS:
            raise ValueError("a number that is too large")
    return _OPERATORS[type(node.op)](left, right)

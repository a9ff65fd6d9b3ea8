"""What BFCL accepts for one parameter: exact Python types, then values in its own likeness.

The quirks are the point. A value's type must be the declared one, or that of the first accepted
value: then it counts as a *variable* and is compared by `==` alone, without any leeway. True is
not 1; an int may stand for a float at the top of a parameter and nowhere below. The items of an
array must be of the declared type too, unless `""` or anything else that is no list stands
among the accepted values. Strings lose blanks and `,./-_*^` before they are compared,
signs and decimal points with them.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from callgrain.verify.compat._bfcl_source import JAVA, JAVASCRIPT, read_java, read_javascript

PYTHON: dict[str, type] = {
    "string": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
    "any": str,
}
"""Python's type of each declared one; the other languages bring tables of their own."""

_TABLES = {"python": PYTHON, "java": JAVA, "javascript": JAVASCRIPT}
_WITH_ITEMS = {"python": ("array", "tuple"), "java": ("Array", "ArrayList"), "javascript": ("array",)}
_DROPPED = str.maketrans("", "", " ,./-_*^")


def plain(text: str) -> str:
    """A string as BFCL compares it: `-1.5`, `15` and `1,5` are the same."""
    return text.translate(_DROPPED).lower().replace("'", '"')


def _plain(value: Any) -> Any:
    return plain(value) if type(value) is str else value


class Parameter:
    """One parameter of a gold call. Tables are made when they are first needed.

    Not before: what is malformed must not raise until the original would have come upon it.
    """

    def __init__(self, details: Any, accepted: Any, language: str) -> None:
        self.details, self.accepted, self.language = details, accepted, language
        self._tables: dict[int, list[Any]] = {}

    def error(self, value: Any) -> str:
        """BFCL's name of what is wrong with `value`, "" where it is right. Raises where BFCL dies."""
        if self.language != "python":
            expected = self.expected
            if type(value) is not str:
                return "type_error:java" if self.language == "java" else "type_error:js"
            read = read_java if self.language == "java" else read_javascript
            value = read(value, self.declared, self.items)
        expected, inner, kind = self.types
        if type(value) is int and expected is float and self.language == "python":
            value = float(value)
        elif type(value) is tuple and self.declared == "tuple":
            value = list(value)
        if type(value) is expected:
            variable = kind is not None and kind is not expected
            if inner is not None and not self._items_fit(value, inner):
                return "type_error:nested" if kind is expected else "type_error:simple"
        elif type(value) is kind:
            variable = True
        else:
            return "type_error:simple"
        return self._unlike(value, None if variable else expected, inner)

    def _unlike(self, value: Any, expected: type | None, inner: type | None) -> str:
        """The comparison of values; `expected` is None for a variable."""
        if expected is dict:
            return self._object(value, self.accepted)
        if expected is list and inner is dict:
            return self._objects(value)
        if expected is str:
            return "" if value in self.texts or plain(value) in self.strings else "value_error:string"
        if expected is list:
            return "" if [_plain(item) for item in value] in self.lists else "value_error:list/tuple"
        return "" if value in self.accepted else "value_error:others"

    @cached_property
    def declared(self) -> str:
        return self.details["type"]

    @cached_property
    def expected(self) -> type:
        return _TABLES[self.language][self.declared]

    @cached_property
    def items(self) -> str:
        """Declared type of the items, "" for what has none."""
        return self.details["items"]["type"] if self.declared in _WITH_ITEMS[self.language] else ""

    @cached_property
    def inner(self) -> type | None:
        """Type of the items; one level only, whatever lies deeper is not looked at."""
        return _TABLES[self.language][self.items] if self.declared in _WITH_ITEMS[self.language] else None

    @cached_property
    def types(self) -> tuple[type, type | None, type | None]:
        """Declared type, that of its items, that of the first accepted value."""
        return self.expected, self.inner, _first_type(self.accepted)

    @cached_property
    def texts(self) -> frozenset[str]:
        """Accepted strings as they stand: what is one of them need not be made plain."""
        return frozenset(value for value in self.accepted if type(value) is str)

    @cached_property
    def strings(self) -> frozenset[str]:
        return frozenset(map(plain, self.texts))

    @cached_property
    def lists(self) -> list[list[Any]]:
        """Accepted lists; a `""` among them (may be left out) has become the empty list."""
        return [[_plain(listed[at]) for at in range(len(listed))] for listed in self.accepted]

    def _items_fit(self, value: Any, inner: type) -> bool:
        for listed in self.accepted:
            if type(listed) is not list:
                return True
            kind = _first_type(listed)
            if all(type(item) is inner or (kind is not None and type(item) is kind) for item in value):
                return True
        return False

    def _objects(self, value: list[Any]) -> str:
        """Objects in order, each held against its own. The error is that of the last list tried."""
        error = "list_dict_checker:unclear"
        for listed in self.accepted:
            if len(value) != len(listed):
                error = "value_error:list_dict_count"
                continue
            error = next((e for at, item in enumerate(value) if (e := self._object(item, [listed[at]]))), "")
            if not error:
                return ""
        return error

    def _object(self, value: Any, accepted: Any) -> str:
        """One level of keys; what is nested in them is compared raw. The error is that of the last tried."""
        error = "dict_checker:unclear"
        for wanted in accepted:
            if wanted == "":
                continue
            error = self._fields(value, wanted)
            if not error:
                return ""
        return error

    def _fields(self, value: Any, wanted: Any) -> str:
        error = ""
        for key, given in value.items():
            if key not in wanted:
                error = "value_error:dict_key"
                break
            if _plain(given) not in self._accepted_field(wanted[key]):
                error = "value_error:dict_value"
                break
        for key, listed in wanted.items():  # goes on after an error, and has the last word
            if key not in value and "" not in listed:
                return "value_error:dict_key"
        return error

    def _accepted_field(self, listed: Any) -> list[Any]:
        """Accepted values of one key, made plain once: the key outlives the table, so its id will do."""
        found = self._tables.get(id(listed))
        if found is None:
            found = self._tables[id(listed)] = [_plain(listed[at]) for at in range(len(listed))]
        return found


def _first_type(accepted: Any) -> type | None:
    """Type of the first accepted value that is not `""`."""
    return next((type(value) for value in accepted if value != ""), None)

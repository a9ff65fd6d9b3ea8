"""A tool as a document: the words of its name, what it says of itself, and its parameters.

The text is enriched in the sense of Toolshed (arXiv 2410.14594): parameters and their descriptions stand beside the
name and the description, since a request often says what it gives rather than what it wants done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from callgrain.core.types import Json, Tool

TEXT_LIMIT = 20_000
"""Characters of a request or a document that are read: they come from strangers."""
DEPTH = 2
"""Levels of parameters that are read: those of the call, and the fields of an object among them."""
WORD_LIMIT = 64
"""Characters of a word that count; a longer one is no word."""

_WORD = re.compile(r"[^\W\d_]+|\d+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_STOPS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be but by can could do does for from had has have he her his i if in into is it its let me"
        " my of on or our please she so some such that the their them then there these they this to us was we were"
        " what which who will with would you your",
    )
)
"""Words that say nothing of what a tool does."""


def document(tool: Tool) -> str:
    """The text by which a tool is found."""
    about = tool.description[:TEXT_LIMIT].strip()
    parts = [spoken(tool.name), about, *_said_of(tool.parameters, DEPTH)]
    return ". ".join(part for part in parts if part)[:TEXT_LIMIT]


def spoken(name: str) -> str:
    """A name in snake, kebab, dotted or camel case as words."""
    return " ".join(piece for word in _WORD.findall(name[:TEXT_LIMIT]) for piece in _HUMP.split(word))


def terms(text: str) -> list[str]:
    """Stems of the words of a text, in their order; a word in camel case counts whole and in its parts."""
    found: list[str] = []
    for word in _WORD.findall(text[:TEXT_LIMIT]):
        pieces = _HUMP.split(word[:WORD_LIMIT])
        found += pieces if len(pieces) == 1 else [*pieces, word[:WORD_LIMIT]]
    folded = [word.lower() for word in found]
    return stemmed([word for word in folded if word not in _STOPS])


def stemmed(words: Sequence[str]) -> list[str]:
    """Each word's stem (Porter 2, by Snowball)."""
    import Stemmer

    return list(Stemmer.Stemmer("english").stemWords(list(words)))  # one each time: a stemmer is not safe among threads


def _said_of(schema: Mapping[str, Json], depth: int) -> list[str]:
    """What the parameters of a schema are called and say of themselves."""
    fields = schema.get("properties")
    if not isinstance(fields, dict) or depth == 0:
        return []
    out: list[str] = []
    for name, field in fields.items():
        inner = field if isinstance(field, dict) else {}
        about = inner.get("description")
        out.append(f"{spoken(name)}: {about[:TEXT_LIMIT]}" if isinstance(about, str) and about else spoken(name))
        items = inner.get("items")
        out += _said_of(items if isinstance(items, dict) else inner, depth - 1)
    return out

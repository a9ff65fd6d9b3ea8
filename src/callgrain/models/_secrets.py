"""Keeping keys out of everything that is kept: error texts, replies, records.

Endpoints repeat what they were sent: in error pages, in headers, some in the content itself. Whatever leaves
the back end passes here first, before anything is shortened, since half a key is a secret too.
"""

from __future__ import annotations

import base64
import html
import json
import re
from typing import Any
from urllib.parse import quote

from callgrain.core.types import Json, Reply

SHORTEST = 12
"""Fewest letters of a key that is looked for in replies: local servers take any word for a key ("EMPTY", "none"),
and to strike out such a word would change what the model said."""

HIDDEN = "[key]"


class Secrets:
    """The words that must not be written, in every spelling that an endpoint may give them."""

    def __init__(self, *words: str) -> None:
        given = [word for word in words if word]
        self._all = _spellings(given)
        self._long = _spellings([word for word in given if len(word) >= SHORTEST])

    def hide(self, text: str) -> str:
        """`text` without any of the secrets."""
        return _without(text, self._all)

    def hide_in(self, value: Json) -> Json:
        """A JSON value without the long secrets in any of its texts and names; its depth is bounded by the reader."""
        if isinstance(value, str):
            return _without(value, self._long)
        if isinstance(value, dict):
            return {self.hide_in(name): self.hide_in(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.hide_in(item) for item in value]
        return value

    def hide_in_reply(self, reply: Reply) -> Reply:
        """The reply without the long secrets; tokens that spell one between them go altogether."""
        if not self._long:
            return reply
        dumped: dict[str, Any] = reply.model_dump(mode="json")
        tokens = "".join(reply.tokens or ())
        split = _without(tokens, self._long) != tokens
        by_token = dict.fromkeys(("tokens", "logprobs", "margins", "entropies")) if split else {}
        hidden = self.hide_in(dumped | by_token)
        return reply if hidden == dumped else Reply.model_validate(hidden)


def _spellings(words: list[str]) -> re.Pattern[str] | None:
    """Each word plain, and as URLs, HTML, JSON and basic authentication spell it, in letters of either case."""
    found: set[str] = set()
    for word in words:
        packed = base64.b64encode(word.encode(errors="replace")).decode()
        found |= {word, quote(word, safe=""), html.escape(word), json.dumps(word)[1:-1], packed}
    longest_first = sorted(found, key=lambda word: (-len(word), word))
    return re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if found else None


def _without(text: str, words: re.Pattern[str] | None) -> str:
    return words.sub(HIDDEN, text) if words else text

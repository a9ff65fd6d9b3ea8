"""Twins: a request without its function, with one more, without a value.

`twinned,seed=0:SOURCE`. After each call comes what is right when the least possible changes (trait `twin`):
`original`; `no_tool`, where other functions stand in the place of those it needs, so that declining is right;
`added`, where one more function is shown and the call stays right (without it, whoever always declines looks
robust); `no_value`, where a required value is cut out of the request, so that asking is right. That one is made
only where the value stands exactly once in the conversation, in the last turn, and goes with its clause or
sentence. All of a family share the trait `pair`. Other functions come from other Traces of the split; where every
prompt shows all there are, some of its own are held back from the whole family.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, ClassVar

from callgrain.core.types import Accept, Answer, Message, Tool, Trace
from callgrain.sources._edits import check_gold, counted, derived, leaves, parts, spellings, strings
from callgrain.sources._pool import Pool, gold_tools, is_right_too, pool_of
from callgrain.sources._wrapping import Grouping, SkipError

_LINKS = (
    "about|after|against|along|among|around|at|before|below|between|beyond|by|called|during|for|from|in|inside|into"
    "|near|named|of|off|on|onto|out|outside|over|per|since|than|through|to|toward|towards|under|until|using|via|when"
    "|where|with|within|without|holding|honoring|leaving|starting|ending|fitting|sized"
)
_LONG = (
    r"(?:(?:with|in|at|by|for|under)\s(?:a|an|the)\s\w{1,40}\sof|up\sto"
    r"|(?:leaving|starting|shipped|going|away)\s(?:from|to|on|at|in))"
)
"""Links of several words, which go as a whole: "with a radius of 10", "in the name of Ann"."""
_FILL = r"(?:(?:the|a|an|my|our|this|that|his|her|its|their|area|city|town|name|of|date|day|around)\s){0,2}"
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*\s*|\n+")
_QUOTE = r"[\"'“”‘’]?"


class Twinned(Grouping):
    """Families of twins; `skipped` counts Traces that have none, and twins that could not be made."""

    name = "twinned"
    options: ClassVar[dict[str, object]] = {"seed": 0}
    block = 1
    width = 4

    def __init__(self, rest: str, seed: int = 0) -> None:
        super().__init__(rest, seed)
        self._pools: dict[str, Pool] = {}

    def group(self, split: str, traces: Sequence[Trace], rng: Random) -> Iterator[Trace]:
        """The family of each trace. One generator a trace, from its content."""
        del rng
        for trace in traces:
            try:
                yield from self.family(split, trace)
            except SkipError as reason:
                self.skipped[str(reason)] += 1

    def family(self, split: str, trace: Trace) -> Iterator[Trace]:
        """The twins of one trace. Raises SkipError before the first."""
        check_gold(trace)
        if split not in self._pools:
            self._pools[split] = pool_of(self.rest, split)
        rng = self._random(trace.key)
        own = gold_tools(trace)
        others = self._pools[split].beside(trace, len(own) + 1, 0.5, rng)
        if (lacking := len(own) + 1 - len(others)) > 0:  # every prompt shows all there is: some are held back
            spare = [tool for tool in trace.tools if tool not in own and not is_right_too(tool, trace)]
            if len(spare) < lacking:
                raise SkipError("no other function to show")
            held = rng.sample(spare, lacking)
            others = [*others, *held]
            trace = trace.model_copy(update={"tools": tuple(tool for tool in trace.tools if tool not in held)})
        yield _twin(trace, "original", trace.key)
        yield _twin(trace, "no_tool", trace.key, tools=exchanged(trace, own, others), gold=_DECLINE)
        shown = list(trace.tools)
        shown.insert(rng.randrange(len(shown) + 1), others[-1])
        yield _twin(trace, "added", trace.key, tools=tuple(shown))
        try:
            messages, question = without_value(trace, rng)
        except SkipError as reason:
            self.skipped[f"no_value: {reason}"] += 1
            return
        yield _twin(trace, "no_value", trace.key, messages=messages, gold=Answer(decision="ask", text=question))


_DECLINE = Answer(decision="decline")


def _twin(trace: Trace, twin: str, pair: str, **changes: Any) -> Trace:
    traits: dict[str, Any] = {"twin": twin, "pair": pair}
    if "gold" in changes:  # nothing is called, so nothing comes back
        traits |= {"kind": "decline" if twin == "no_tool" else "ask", "n_calls": 0, "depth": 0, "width": 0, "fan_in": 0}
        changes |= {"results": (), "reply": ""}
    return derived(trace, twin, traits=traits, **changes)


def exchanged(trace: Trace, own: Sequence[Tool], others: Sequence[Tool]) -> tuple[Tool, ...]:
    """The tools with others in the place of `own`, as many as before, so that the number tells nothing.

    What might do the same as one of `own` goes.
    """
    places = {tool.name: other for tool, other in zip(own, others, strict=False)}
    return tuple(places.get(t.name, t) for t in trace.tools if t.name in places or not is_right_too(t, trace))


def without_value(trace: Trace, rng: Random) -> tuple[tuple[Message, ...], str]:
    """(messages without one required value, the question for it). Raises SkipError with the reason."""
    if len(trace.gold.calls) != 1 or trace.gold.instead:
        raise SkipError("several calls")
    call, tool = trace.gold.calls[0], gold_tools(trace)[0]
    last = trace.messages[-1]
    before = "\n".join([*(m.text for m in trace.messages[:-1]), *_shown(trace)])
    reason = "nothing is required"
    for name in rng.sample(sorted(tool.required), len(tool.required)):
        accept = trace.gold.accepts.get(f"0.{name}", Accept())
        schema = tool.properties.get(name) or {}
        if name not in call.arguments or "default" in schema or accept.omissible:
            continue
        forms = {form for value in (call.arguments[name], *accept.values) for form in spellings(value)}
        others = {f for n, v in call.arguments.items() if n != name for _, leaf in leaves(v) for f in spellings(leaf)}
        standing = [form for form in forms if counted(last.text, form)]
        if not standing or any(counted(before, form) for form in forms):
            reason = "its value does not stand in the last turn alone"
            continue
        value = max(standing, key=len)
        kept = cut(last.text, value, [other for other in others if counted(last.text, other)])
        if kept is None or any(counted(kept, form) for form in forms):
            reason = "its value cannot be cut out cleanly"
            continue
        messages = (*trace.messages[:-1], last.model_copy(update={"text": kept}))
        return messages, f"Could you tell me the {' '.join(parts(name))}?"
    raise SkipError(reason)


def _shown(trace: Trace) -> Iterator[str]:
    """Texts of earlier calls and results."""
    for message in trace.messages[:-1]:
        for call in message.calls:
            yield from strings(call.arguments)
        for result in message.results:
            yield from strings(result.value)


def cut(text: str, value: str, others: Sequence[str]) -> str | None:
    """`text` without the clause or sentence that holds `value`; None where that would not be clean.

    A clause is a preposition with the value behind it, before another such, a comma, an "and" or the end; a
    sentence may go that is not the only one. Nothing goes that holds one of `others`.
    """
    if counted(text, value) != 1:
        return None
    end = rf"{_QUOTE}{re.escape(value)}{_QUOTE}(?!\w)(?=\s{{0,2}}(?:[,.](?!\s?\d)|[;!?]|$|and\s|please|(?:{_LINKS})\s))"
    for link in (_LONG, f"(?:{_LINKS})"):
        for found in re.finditer(rf"[\s,]{{1,2}}{link}\s{_FILL}{end}", text, re.IGNORECASE):
            kept = text[: found.start()] + text[found.end() :]
            inside = text[: found.start()].rstrip()[-1:] not in (".", "!", "?")
            if inside and _whole(text, kept, others) and len(kept.split()) >= 2:
                return kept.strip()
    sentences = _SENTENCE.findall(text)
    holding = [i for i, sentence in enumerate(sentences) if counted(sentence, value)]
    if len(holding) == 1 and holding[0] > 0:
        kept = "".join(s for i, s in enumerate(sentences) if i != holding[0])
        if _whole(text, kept, others) and len(kept.split()) >= 3:
            return kept.strip()
    return None


def _whole(text: str, kept: str, others: Sequence[str]) -> bool:
    return all(counted(kept, other) == counted(text, other) for other in others)


plugin = Twinned

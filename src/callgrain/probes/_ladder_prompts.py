"""Oracles that stand in the prompt: the right tools shown, terse schemas, a healed history.

As it is, a prompt shows what a retriever finds in the whole catalogue of the pool, in full schemas, behind an
exchange that went wrong. Each oracle takes one of these away and leaves the others. What is right does not change:
a tool that might be right too is never shown, and the failed exchange is another request's, so that it neither
tells nor does anything of what is due (a failed attempt at the request itself would give most of the answer away).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from callgrain.core import plugins
from callgrain.core.canonical import text_key
from callgrain.core.types import Answer, Json, Message, Prompt, Result, Sample, Tool, Trace
from callgrain.probes._pool import Pool
from callgrain.sources._edits import DEPTH, user_words
from callgrain.sources._pool import is_right_too
from callgrain.sources.stumbled import SEEN, complaint_of
from callgrain.tools._execute import references
from callgrain.verify.lint import lint
from callgrain.verify.spoil import spoil
from callgrain.verify.ways import ways

SHOWN = 8
"""Tools that a prompt shows, as agents do with a retriever before them; more where the calls need more."""
LOOKED_AT = 4
"""How many times the tools that are shown are ranked: some of them might be right too and are passed over."""
EARLIER = 64
"""Most requests from which the earlier exchange is taken."""
RETRIEVER = "bm25"
GIVEN = frozenset({"slots"})
"""Sub-tasks that are given their functions: there is nothing to find."""

_PROSE = frozenset({"description", "title", "examples", "example", "$comment", "markdownDescription"})
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_VALUES = frozenset({"enum", "const", "default", "required"})


@dataclass(frozen=True)
class Exchange:
    """Another request with its call: as it should have gone, and as it went wrong."""

    trace: str
    tool: Tool
    right: tuple[Message, ...]
    wrong: tuple[Message, ...]


@dataclass(frozen=True)
class Situation:
    """All prompts of one sample; `open` names the oracles that would change something."""

    sample: Sample
    found: tuple[Tool, ...]
    oracle: tuple[Tool, ...]
    sham: tuple[Tool, ...]
    earlier: Exchange | None
    open: tuple[str, ...]

    def prompt(self, rungs: Sequence[str]) -> Prompt:
        """The prompt with these oracles in.

        `sham` changes as many tools as the oracle would, for nothing; `pruned` leaves the earlier exchange out.
        """
        tools = self.oracle if "retrieval" in rungs else self.sham if "sham" in rungs else self.found
        if "schema" in rungs:
            tools = tuple(terse(tool) for tool in tools)
        messages = self.sample.prompt.messages
        if self.earlier is not None and "pruned" not in rungs:
            said = self.earlier.right if "history" in rungs else self.earlier.wrong
            head = sum(m.role == "system" for m in messages[:1])
            messages = (*messages[:head], *said, *messages[head:])
        update = {"messages": messages, "tools": tools, "constrain": "syntax" in rungs}
        return self.sample.prompt.model_copy(update=update)


class Situations:
    """What the prompts of a pool are made of: its catalogue, a retriever over it, exchanges that went wrong."""

    def __init__(self, pool: Pool, rng: Random) -> None:
        tools: dict[str, Tool] = {}
        for trace in pool.traces.values():
            for tool in trace.tools:
                tools.setdefault(tool.name, tool)
        self.catalogue = tuple(tools.values())
        self.can_constrain = pool.abilities.can_constrain
        self._retriever: Any = plugins.load("retrievers", RETRIEVER)(self.catalogue) if self.catalogue else None
        self._earlier = list(_exchanges(pool.traces, rng))

    def of(self, sample: Sample, trace: Trace) -> Situation:
        """The prompts of a sample of `trace`, in which calls are due."""
        own = {tool.name: tool for tool in trace.tools}
        gold = [n for n in dict.fromkeys(c.name for a in _answers(sample, trace) for c in a.calls) if n in own]
        rng = Random(text_key("ladder", sample.key))
        earlier = self._before(trace, own, set(gold), rng)
        if sample.subtask in GIVEN or not gold:
            found = oracle = sham = sample.prompt.tools
        else:
            found, oracle, sham = self._shown(sample, trace, gold, earlier, rng)
        able = {
            "retrieval": oracle != found,
            "schema": any(terse(tool) != tool for tool in (*found, *oracle)),
            "syntax": self.can_constrain,
            "history": earlier is not None,
        }
        return Situation(sample, found, oracle, sham, earlier, tuple(name for name, is_open in able.items() if is_open))

    def _shown(
        self, sample: Sample, trace: Trace, gold: Sequence[str], earlier: Exchange | None, rng: Random
    ) -> tuple[tuple[Tool, ...], tuple[Tool, ...], tuple[Tool, ...]]:
        """Tools as found, with every gold one among them, and with as many others put in for nothing."""
        own = {tool.name: tool for tool in trace.tools}
        fixed = {} if earlier is None else {earlier.tool.name: earlier.tool}
        size = max(SHOWN, len(gold) + 1 + len(fixed))
        order = self._ranked(sample, trace, gold, rng)
        tools = {**{t.name: t for t in order}, **own, **fixed}
        names = [t.name for t in order if t.name not in fixed]
        places = size - len(fixed)
        found, rest = names[:places], [n for n in names[places:] if n not in gold]
        missing = [name for name in gold if name not in found and name not in fixed]
        last = [name for name in reversed(found) if name not in gold]
        swapped = (set(last[: len(missing)]), set(last[: min(max(1, len(missing)), len(rest))]))
        oracle = [*(n for n in found if n not in swapped[0]), *missing]
        sham = [*(n for n in found if n not in swapped[1]), *rest[: len(swapped[1])]]
        at = [*fixed]
        return (
            _placed([*at, *found], tools, sample.key),
            _placed([*at, *oracle], tools, sample.key),
            _placed([*at, *sham], tools, sample.key),
        )

    def _ranked(self, sample: Sample, trace: Trace, gold: Sequence[str], rng: Random) -> list[Tool]:
        """The catalogue as found, best first, then the tools that the retriever does not know of in random order."""
        wanted = LOOKED_AT * (SHOWN + len(gold))
        pairs = self._retriever.rank([user_words(sample.prompt.messages)], wanted)[0] if self._retriever else []
        places = [place for place, _ in pairs]
        others = rng.sample(range(len(self.catalogue)), min(wanted, len(self.catalogue)))
        tools = (self.catalogue[i] for i in dict.fromkeys([*places, *others]))
        return [tool for tool in tools if tool.name in gold or not is_right_too(tool, trace)]

    def _before(self, trace: Trace, own: Mapping[str, Tool], gold: set[str], rng: Random) -> Exchange | None:
        """An exchange of another trace whose tool is none of this one's."""
        for one in rng.sample(self._earlier, min(len(self._earlier), 8)):
            if one.trace != trace.key and one.tool.name not in gold and not is_right_too(one.tool, trace):
                known = own.get(one.tool.name)
                if known is None or known == one.tool:
                    return one
        return None


def _answers(sample: Sample, trace: Trace) -> tuple[Answer, ...]:
    return (*ways(sample.answer), trace.gold)


def _placed(names: Sequence[str], tools: Mapping[str, Tool], key: str) -> tuple[Tool, ...]:
    """The tools in an order that hangs on the sample and the name alone, so that no place tells a gold one."""
    return tuple(tools[name] for name in sorted(names, key=lambda name: (text_key(key, name), name)))


def _exchanges(traces: Mapping[str, Trace], rng: Random) -> Iterator[Exchange]:
    """Traces of one request, one call and its result; the call made wrong in a way that shows, with its error."""
    fit = [key for key, trace in traces.items() if _is_plain(trace)]
    for key in rng.sample(fit, min(EARLIER, len(fit))):
        trace = traces[key]
        call = trace.gold.calls[0].model_copy(update={"label": None})
        prompt = Prompt(messages=trace.messages, tools=trace.tools)
        alone = Sample(subtask="full", prompt=prompt, answer=Answer(calls=(call,)), origin=trace.origin)
        tool = next(t for t in trace.tools if t.name == call.name)
        asked = tuple(m for m in trace.messages if m.role == "user")
        done = trace.results[0].model_copy(update={"label": None, "name": call.name})
        for kind in rng.sample(SEEN, len(SEEN)):
            reply = spoil(kind, alone, rng)
            wrong = reply.message.calls[0] if reply and reply.message and reply.message.calls else None
            seen = lint((wrong,), trace.tools) if wrong else ()
            if wrong is not None and seen:
                error = Result(name=wrong.name, error=complaint_of(seen[0], (tool,), rng))
                yield Exchange(
                    key,
                    tool,
                    (*asked, Message(calls=(call,)), Message(role="tool", results=(done,))),
                    (*asked, Message(calls=(wrong,)), Message(role="tool", results=(error,))),
                )
                break


def _is_plain(trace: Trace) -> bool:
    """Whether a trace is one request with one call that went well."""
    gold, said = trace.gold, [m for m in trace.messages if m.role != "system"]
    return (
        gold.decision == "call"
        and not gold.names_only
        and len(gold.calls) == len(trace.results) == len(said) == 1
        and said[0].role == "user"
        and trace.results[0].error is None
        and not references(gold.calls[0])
        and not lint(gold.calls, trace.tools)
    )


def terse(tool: Tool) -> Tool:
    """The tool without its prose: the first line of its description, names, types, enums and what is required.

    What a call is judged by (types, limits, defaults) stays; so does the name of what it returns, and its fields.
    """
    line = tool.description.strip().partition("\n")[0].partition(". ")[0]
    returns = tool.returns
    if returns is not None:
        title = {"title": returns["title"]} if "title" in returns else {}
        returns = {**_terse(returns), **title}
    return tool.model_copy(update={"description": line, "parameters": _terse(tool.parameters), "returns": returns})


def _terse(schema: Json, depth: int = 0) -> Json:
    if isinstance(schema, list):
        return [_terse(item, depth + 1) for item in schema] if depth < DEPTH else schema
    if not isinstance(schema, dict) or depth >= DEPTH:
        return schema
    out: dict[str, Json] = {}
    for key, value in schema.items():
        if key in _VALUES:
            out[key] = value
        elif key in _NAMED and isinstance(value, dict):
            out[key] = {name: _terse(inner, depth + 1) for name, inner in value.items()}
        elif key not in _PROSE:
            out[key] = _terse(value, depth + 1)
    return out

"""The catalogue that a pool's prompts make up, and what each of its requests needs from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from callgrain.core.canonical import text_key
from callgrain.core.types import Sample, Tool
from callgrain.verify.ways import ways

SUITED = ("full", "names", "parallel", "chain", "nest", "next_call")
"""Sub-tasks of which one stands for a trace, best first: the request's whole gold set, with the tools all shown."""
UNSUITED = ("slots", "response", "decide")
"""Sub-tasks whose prompts show the gold tools only, or whose answers call nothing."""


@dataclass(frozen=True)
class Wanted:
    """One trace's request: the sample that stands for it, and the places of its gold tools."""

    trace: str
    sample: Sample
    request: str
    gold: tuple[int, ...]


@dataclass(frozen=True)
class Library:
    """Tools, each once by name and description, and the requests that want some of them, one a trace."""

    tools: tuple[Tool, ...]
    wanted: tuple[Wanted, ...]

    @classmethod
    def of(cls, rows: Iterable[tuple[str, Sample]]) -> Library:
        """The library of (trace, sample) rows: what they show, and what they want.

        Left out are requests without words, gold tools that are not shown, and answers whose alternatives want
        other tools: there "the whole gold set" is no one set.
        """
        rows = list(rows)
        tools: dict[tuple[str, str], Tool] = {}
        for _, sample in rows:
            for tool in sample.prompt.tools:
                tools.setdefault(_identity(tool), tool)
        places = {identity: place for place, identity in enumerate(tools)}
        chosen: dict[str, tuple[int, Wanted]] = {}
        for behind, sample in rows:
            trace = behind or sample.key
            if sample.subtask in UNSUITED or not (gold := _gold(sample)) or not (said := request(sample)):
                continue
            rank = SUITED.index(sample.subtask) if sample.subtask in SUITED else len(SUITED)
            if trace not in chosen or rank < chosen[trace][0]:
                found = tuple(dict.fromkeys(places[_identity(tool)] for tool in gold))
                chosen[trace] = (rank, Wanted(trace, sample, said, found))
        return cls(tuple(tools.values()), tuple(wanted for _, wanted in chosen.values()))


def request(sample: Sample) -> str:
    """What the user said, the last turn first: an encoder reads only so far."""
    said = [message.text for message in sample.prompt.messages if message.role == "user" and message.text.strip()]
    return "\n".join(reversed(said))


def others(library: Library, one: Wanted, seed: int) -> list[int]:
    """Every other tool's place in this request's own random order: a smaller catalogue is the beginning of it.

    Tools that bear the name of a gold one are not among them: a prompt shows a name once.
    """
    names = {library.tools[place].name for place in one.gold}
    gold = set(one.gold)
    rest = [p for p, tool in enumerate(library.tools) if p not in gold and tool.name not in names]
    Random(text_key("retrieval", str(seed), one.sample.key)).shuffle(rest)
    return rest


def shown(library: Library, places: Sequence[int], k: int, spare: Sequence[int], key: str) -> tuple[Tool, ...]:
    """`k` tools of distinct names: those at `places`, then the spare ones, in an order that says nothing.

    Each tool has its own random rank, so that two arms show what they share in the same order.
    """
    found: dict[str, Tool] = {}
    for place in [*places, *spare]:
        tool = library.tools[place]
        if len(found) < k:
            found.setdefault(tool.name, tool)
    return tuple(sorted(found.values(), key=lambda tool: text_key("retrieval", key, tool.name)))


def _gold(sample: Sample) -> tuple[Tool, ...]:
    """The tools that the answer calls, in the order of the prompt; none where that is not one set, or not shown."""
    sets = {frozenset(call.name for call in way.calls) for way in ways(sample.answer) if way.decision == "call"}
    if len(sets) != 1 or not sample.answer.calls:
        return ()
    (names,) = sets
    found = {tool.name: tool for tool in sample.prompt.tools if tool.name in names}
    return tuple(found.values()) if len(found) == len(names) else ()


def _identity(tool: Tool) -> tuple[str, str]:
    return tool.name, tool.description

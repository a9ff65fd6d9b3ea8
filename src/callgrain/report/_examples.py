"""The worst of each weak sub-task: a few wrong answers that stand for most of them.

One example for each of the commonest first faults, so that three examples show three ways
of going wrong; of the candidates the shortest request, which is the quickest to read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from markupsafe import Markup

from callgrain.core.store import Run
from callgrain.core.types import Answer, Fault, Message, Reply, Sample, Verdict
from callgrain.panels._words import clip, inert, whole
from callgrain.report import _calls

PER_SUBTASK = 3
_CANDIDATES = 12
_TOOLS = 40


@dataclass(frozen=True)
class Example:
    """One wrong answer, ready to print."""

    key: str
    request: str
    earlier: tuple[tuple[str, str], ...]
    tools: tuple[tuple[str, str, str], ...]
    more_tools: int
    expected: Markup
    given: Markup
    faults: tuple[tuple[str, str, str, str], ...]
    traits: tuple[tuple[str, str], ...]


@dataclass
class Tally:
    """What the verdicts of one sub-task add up to."""

    graded: int = 0
    wrong: int = 0
    firsts: Counter[str] = field(default_factory=Counter[str])
    keys: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


@dataclass(frozen=True)
class Shelf:
    """A table of verdicts, and the field by which its rows are told apart."""

    table: str
    by: str


POOL = Shelf("verdicts", "subtask")
PROBES = Shelf("probe_verdicts", "probe")


def tally(run: Run, shelf: Shelf = POOL) -> dict[str, Tally]:
    """Wrong answers of each sub-task (or probe) by their first fault, with the keys of the first few."""
    found: dict[str, Tally] = defaultdict(Tally)
    for row in run.rows(shelf.table):
        verdict: dict[str, Any] = row.get("verdict") or {}
        if verdict.get("state", "graded") != "graded":
            continue
        here = found[str(row.get(shelf.by))]
        here.graded += 1
        if row.get("ok"):
            continue
        here.wrong += 1
        kind = next((str(fault.get("kind")) for fault in verdict.get("faults", ())), "unnamed")
        here.firsts[kind] += 1
        if len(here.keys[kind]) < _CANDIDATES:
            here.keys[kind].append(str(row.get("key")))
    return dict(found)


def examples(
    run: Run, subtasks: Sequence[str], tallies: dict[str, Tally], shelf: Shelf = POOL
) -> dict[str, list[Example]]:
    """Up to three examples for each of `subtasks` (or probes); one pass over each journal."""
    kinds = {s: [kind for kind, _ in tallies[s].firsts.most_common()] for s in subtasks if s in tallies}
    wanted = {key for s in kinds for kind in kinds[s] for key in tallies[s].keys[kind]}
    samples = {
        key: Sample.model_validate(whole(r["sample"]))
        for r in run.rows("samples")
        if (key := str(r["key"]).rpartition("/")[2]) in wanted  # a probe's rows carry its name before the key
    }
    chosen: dict[str, list[str]] = {}
    for subtask, ranked in kinds.items():
        queues = [
            sorted((k for k in tallies[subtask].keys[kind] if k in samples), key=lambda k: _size(samples[k]))
            for kind in ranked
        ]
        turns = max(map(len, queues), default=0)
        in_turn = [queue[i] for i in range(turns) for queue in queues if i < len(queue)]
        chosen[subtask] = in_turn[:PER_SUBTASK]
    picked = {key for keys in chosen.values() for key in keys}
    replies = {r["key"]: Reply.model_validate(whole(r["reply"])) for r in run.rows("replies") if r["key"] in picked}
    verdicts = {
        r["key"]: Verdict.model_validate(whole(r["verdict"])) for r in run.rows(shelf.table) if r["key"] in picked
    }
    return {
        subtask: [_example(key, samples[key], replies.get(key, Reply()), verdicts[key]) for key in keys]
        for subtask, keys in chosen.items()
    }


def _size(sample: Sample) -> tuple[int, str]:
    return sum(len(m.text) for m in sample.prompt.messages) + 40 * len(sample.answer.calls), sample.key


def _example(key: str, sample: Sample, reply: Reply, verdict: Verdict) -> Example:
    messages = sample.prompt.messages
    last = max((i for i, m in enumerate(messages) if m.role == "user"), default=len(messages) - 1)
    earlier = [(m.role, _turn(m)) for i, m in enumerate(messages) if i != last]
    bare = sample.subtask == "names"
    tools = sample.prompt.tools
    return Example(
        key=key,
        request=clip(messages[last].text, 1200) if messages else "",
        earlier=tuple(earlier),
        tools=tuple(
            (t.name, f"({', '.join(map(str, t.properties))})", clip(t.description, 200)) for t in tools[:_TOOLS]
        ),
        more_tools=max(0, len(tools) - _TOOLS),
        expected=_right(sample.answer, verdict.faults, bare=bare),
        given=_given(reply, verdict.faults, bare=bare),
        faults=tuple(_fault(fault) for fault in verdict.faults[:12]),
        traits=tuple((str(k), str(v)) for k, v in sample.traits.items()),
    )


def _turn(message: Message) -> str:
    """An earlier turn in one text: what was said, called and given back."""
    calls = [f"{c.label or 'call'} = {c.name}({_calls.plain(c.arguments, 300)})" for c in message.calls]
    results = [f"{r.label or r.name or 'result'} → {r.error or _calls.plain(r.value, 300)}" for r in message.results]
    return "\n".join(filter(None, [clip(message.text, 800), *calls, *results]))


def _right(answer: Answer, faults: Sequence[Fault], *, bare: bool) -> Markup:
    parts = [_calls.expected(answer.calls, faults, bare=bare)]
    if answer.decision != "call":
        parts.append(Markup('<div class="decision">{}</div>').format(answer.decision))
    elif not answer.calls and not answer.text:
        parts.append(Markup('<div class="decision">no further call</div>'))
    if answer.text:
        parts.append(Markup('<q class="said">{}</q>').format(inert(clip(answer.text, 900))))
    if answer.facts:
        facts = Markup(", ").join(Markup("<code>{}</code>").format(inert(clip(f, 80))) for f in answer.facts[:20])
        parts.append(Markup('<div class="must">must hold {}</div>').format(facts))
    return Markup("").join(parts)


def _given(reply: Reply, faults: Sequence[Fault], *, bare: bool) -> Markup:
    if reply.failure is not None:
        return Markup('<i class="gap">no reply: {}</i>').format(inert(clip(reply.failure, 300)))
    if reply.message is None:
        whole = [fault.model_copy(update={"where": "text"}) for fault in faults[:1]]
        said = _calls.given((), reply.text or "(empty)", whole)
        if reply.recovered is None or not reply.recovered.calls:
            return said
        meant = _calls.given(reply.recovered.calls, reply.recovered.text, (), bare=bare)
        return said + Markup('<div class="must">probably meant, and not scored</div>') + meant
    return _calls.given(reply.message.calls, reply.message.text, faults, bare=bare)


def _fault(fault: Fault) -> tuple[str, str, str, str]:
    """Kind, place, expected, given; a side that the fault leaves open is empty."""
    kind = f"{fault.kind} ({fault.detail})" if fault.detail else fault.kind
    return kind, clip(fault.where, 120), _side(fault.expected), _side(fault.given)


def _side(value: Any) -> str:
    """One side of a fault: a whole call is written as a call."""
    if value is None:
        return ""
    if isinstance(value, dict):
        found = cast(dict[str, Any], value)
        if isinstance(found.get("name"), str) and isinstance(found.get("arguments"), dict):
            arguments = cast(dict[str, Any], found["arguments"])
            pairs = (f"{name}={_calls.plain(v, 120)}" for name, v in arguments.items())
            return clip(f"{found['name']}({', '.join(pairs)})", 240)
    return _calls.plain(value, 160)

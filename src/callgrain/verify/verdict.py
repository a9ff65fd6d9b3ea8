"""The judgement: a reply held against an answer, every fault named with its place.

Paths: `calls.<i>` counts the calls as given (as expected for what is missing),
`calls.<i>.name`, `calls.<i>.arguments.<parameter>`, `text`, or `""` for the whole reply.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from callgrain.core.types import Accept, Answer, Call, Decision, Fault, Message, Ref, Reply, Tool, Verdict
from callgrain.verify.faults import by_level, fault, wrong_decision
from callgrain.verify.lint import NESTING_LIMIT, broken_references, misfit, too_deep
from callgrain.verify.match import Graph, Pairing, alike, pair
from callgrain.verify.values import equal, with_defaults


def verdict(faults: Sequence[Fault], score: float, **measures: float) -> Verdict:
    """A verdict whose score agrees with its faults: 1 exactly where there is none."""
    if not faults:
        return Verdict(measures=measures)
    return Verdict(faults=by_level(faults), score=max(0.0, min(score, 0.99)), measures=measures)


def unanswered(reply: Reply) -> Verdict | None:
    """The verdict on a reply that is no answer at all: the back end failed, or the form is broken."""
    if reply.failure is not None:
        return Verdict(state="not_applicable", score=0.0, detail=f"no reply: {reply.failure}")
    if reply.fault is not None:
        return verdict([reply.fault], 0.0)
    if reply.message is None:
        return Verdict(state="grader_error", score=0.0, detail="the reply holds neither message nor fault nor failure")
    return None


def branch(message: Message) -> Decision:
    """Which branch a turn takes: call, ask, decline, or answer.

    A question is marked by the word ASK, a refusal by DECLINE (the instruction of `decide` says
    so); a text that ends in a question mark asks as well.
    """
    if message.calls:
        return "call"
    words = message.text.strip()
    head = words[:8].upper()
    if head.startswith("DECLINE"):
        return "decline"
    if head.startswith("ASK") or words.endswith("?"):
        return "ask"
    return "answer"


def judge_branch(answer: Answer, reply: Reply) -> Verdict:
    """Only the branch counts. A malformed call is a fault of form, never a refusal."""
    if (out := unanswered(reply)) is not None or reply.message is None:
        return out or Verdict(state="grader_error")
    wrong = wrong_decision(answer.decision, branch(reply.message))
    return verdict([wrong] if wrong else [], 0.0)


def judge_calls(answer: Answer, tools: Sequence[Tool], reply: Reply, *, names_only: bool = False) -> Verdict:
    """All the calls of a turn against the answer, or against whichever of `instead` fits best.

    `score` is the share of right leaves (names, arguments, places) among all that are
    expected or given. `names_only` leaves the arguments out. Measures: calls matched,
    expected and given; `exact_names`.
    """
    if (out := unanswered(reply)) is not None or reply.message is None:
        return out or Verdict(state="grader_error")
    wrong = wrong_decision(answer.decision, branch(reply.message))
    if wrong is not None:
        return verdict([wrong], 0.0)
    if answer.decision != "call":
        return verdict([], 1.0)
    deep = [i for i, call in enumerate(reply.message.calls) if too_deep(call)]
    if deep:
        wanted = f"nesting of at most {NESTING_LIMIT}"
        return verdict([fault("unparsable", f"calls.{i}.arguments", wanted) for i in deep], 0.0)
    judged = [_Judge(way, tools, reply.message.calls, names_only).verdict() for way in (answer, *answer.instead)]
    return max(judged, key=lambda v: (v.ok, v.score))


@dataclass
class _Judge:
    """One set of expected calls against the given ones."""

    answer: Answer
    tools: Sequence[Tool]
    given: Sequence[Call]
    names_only: bool

    def __post_init__(self) -> None:
        self.offered: Mapping[str, Tool] = {t.name: t for t in self.tools}
        if self.names_only:
            self.answer = self.answer.model_copy(update={"calls": tuple(_bare(c) for c in self.answer.calls)})
            self.given = tuple(_bare(c) for c in self.given)
        self.gold, self.found = Graph(self.answer.calls), Graph(self.given)
        self.right = self.leaves = 0

    def verdict(self) -> Verdict:
        """Pair, then look at names, arguments and order."""
        pairing = pair(self.answer, self.given, self.offered)
        self.meets = pairing.meets(self.gold)
        faults = list(self._unpaired(pairing))
        matched = 0
        for i, j in pairing.pairs:
            found = list(self._pair(i, j))
            matched += not found
            faults += found
        faults += self._order(pairing)
        figures = {
            "calls_matched": float(matched),
            "calls_expected": float(len(self.answer.calls)),
            "calls_given": float(len(self.given)),
        }
        return verdict(faults, self.right / max(1, self.leaves), **figures)

    def _unpaired(self, pairing: Pairing) -> Iterator[Fault]:
        for i in pairing.missing:
            call = self.answer.calls[i]
            self.leaves += 1 + len(call.arguments)
            yield fault("missing_call", f"calls.{i}", call.model_dump(exclude_none=True))
        for j in pairing.extra:
            call = self.given[j]
            self.leaves += 1 + len(call.arguments)
            kind = "extra_call" if call.name in self.offered else "unknown_tool"
            yield fault(kind, f"calls.{j}", None, call.model_dump(exclude_none=True))

    def _pair(self, i: int, j: int) -> Iterator[Fault]:
        want, have = self.answer.calls[i], self.given[j]
        self.leaves += 1
        if want.name != have.name:
            self.leaves += max(len(want.arguments), len(have.arguments))
            kind = "wrong_tool" if have.name in self.offered else "unknown_tool"
            yield fault(kind, f"calls.{j}.name", want.name, have.name)
            return
        self.right += 1
        if not self.names_only:
            yield from self._arguments(i, j)

    def _arguments(self, i: int, j: int) -> Iterator[Fault]:
        want, have = self.answer.calls[i], self.given[j]
        tool = self.offered.get(want.name)
        properties = tool.properties if tool else {}
        expected, given = with_defaults(want.arguments, properties), with_defaults(have.arguments, properties)
        for name in [*expected, *(n for n in given if n not in expected)]:
            accept = self.answer.accepts.get(f"{i}.{name}")
            place = f"calls.{j}.arguments.{name}"
            if name not in have.arguments and accept is not None and accept.omissible:
                continue
            self.leaves += 1
            found = None
            if name in expected and name in given:
                found = self._value((i, j), name, (expected[name], given[name]), accept)
            if name not in have.arguments:  # nothing was given: whatever the default is, it is no given value
                found = fault("missing_argument", place, expected[name]) if found or name not in given else None
            elif name not in want.arguments and (found or name not in expected):
                found = self._uncalled_for(name, given[name], accept, tool, place)
            self.right += found is None
            if found is not None:
                yield found

    def _uncalled_for(
        self, name: str, value: object, accept: Accept | None, tool: Tool | None, place: str
    ) -> Fault | None:
        """An argument that the answer does not have."""
        if accept is not None and any(equal(other, value, {}) for other in accept.values):
            return None
        if tool is not None and name not in tool.properties:
            return fault("unknown_argument", place, sorted(tool.properties), value)
        return fault("ungrounded_value", place, None, value)

    def _value(
        self,
        at: tuple[int, int],
        name: str,
        values: tuple[object, object],
        accept: Accept | None,
    ) -> Fault | None:
        """An argument that is there on both sides."""
        tool = self.offered.get(self.answer.calls[at[0]].name)
        schema = tool.properties.get(name) if tool else None
        if alike(self.gold, self.found, at, values, (schema, accept), self.meets):
            return None
        expected, given = values
        place = f"calls.{at[1]}.arguments.{name}"
        earlier = {label: i for label, i in self.found.index.items() if i < at[1]}
        if broken := broken_references(given, earlier, place):
            return broken[0].model_copy(update={"expected": expected})
        if Ref.read(expected) is not None or Ref.read(given) is not None:
            return fault("wrong_nesting", place, expected, given)
        return fault(misfit(schema, given) or "wrong_value", place, expected, given)

    def _order(self, pairing: Pairing) -> Iterator[Fault]:
        """Calls that stand in another order than the one that counts."""
        at = dict(pairing.pairs)
        kept = sorted(at)
        edges = list(pairwise(kept)) if self.answer.ordered else list(self.answer.before)
        for i, j in edges:
            if i in at and j in at:
                self.leaves += 1
                if at[i] < at[j]:
                    self.right += 1
                else:
                    names = [self.answer.calls[i].name, self.answer.calls[j].name]
                    yield fault("wrong_order", f"calls.{at[j]}", names, names[::-1])


def _bare(call: Call) -> Call:
    """The call without its arguments."""
    return Call(name=call.name)

"""The nouns: frozen values that every room shares, JSON in and out.

A noun holds data and nothing else: no callables, no storage ids, no behaviour of
a higher floor. Two nouns with the same content are equal and have the same `key`.
The wire shape follows OpenAI chat messages (see `corpus/_formats.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field

from callgrain.core.canonical import canonical
from callgrain.core.noun import Noun, Part, add_list

Json = Any
"""A JSON value. `Any`, because a recursive alias costs pydantic more than it tells a reader."""

Role = Literal["system", "user", "assistant", "tool"]
Decision = Literal["call", "ask", "decline", "answer"]
Mutates = Literal["yes", "no", "unknown"]
State = Literal["graded", "not_applicable", "grader_error"]


def _unset(value: Any) -> bool:
    """Fields that are seldom set stay out of the JSON, and out of the key, where they are not."""
    return value is None or value is False or value == ""


class Tool(Part):
    """What may be called: a name and the JSON Schema of its arguments."""

    name: str
    description: str = ""
    parameters: dict[str, Json] = Field(default_factory=dict)
    returns: dict[str, Json] | None = None
    mutates: Mutates = "unknown"

    @cached_property
    def properties(self) -> dict[str, Json]:
        """Schema of each parameter by name, in the order in which they are declared.

        A schema that refers to the definitions at the root (`#/$defs/...`, as pydantic writes
        them) gets them along, so that it can be judged by itself.
        """
        found = self.parameters.get("properties", {})
        if not isinstance(found, dict):
            return {}
        shared = {k: v for k in ("$defs", "definitions") if isinstance(v := self.parameters.get(k), dict)}
        if not shared:
            return found
        return {n: {**shared, **s} if isinstance(s, dict) and _refers(s) else s for n, s in found.items()}

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the parameters that must be given."""
        found = self.parameters.get("required", ())
        return tuple(name for name in found if isinstance(name, str)) if isinstance(found, list | tuple) else ()


def _refers(schema: Json) -> bool:
    """Whether a `$ref` stands anywhere in the schema, whose depth is not trusted."""
    layer = [schema]
    while layer:
        if any(isinstance(part, dict) and "$ref" in part for part in layer):
            return True
        lists = (part.values() if isinstance(part, dict) else part for part in layer)
        layer = [inner for parts in lists for inner in parts if isinstance(inner, dict | list)]
    return False


_REF = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]{0,63})(?:\.([A-Za-z0-9_.\-]{1,200}))?\$")


class Ref(Noun):
    """A reference to an earlier call's result, written `$label.path$` (or `$label$` for all of it)."""

    label: str
    path: str = ""

    @classmethod
    def read(cls, value: Json) -> Self | None:
        """The reference that `value` spells, or None where it is an ordinary value."""
        if not isinstance(value, str) or value[:1] != "$":
            return None
        found = _REF.fullmatch(value)
        return cls(label=found[1], path=found[2] or "") if found else None

    def __str__(self) -> str:
        return f"${self.label}.{self.path}$" if self.path else f"${self.label}$"


class Call(Noun):
    """One call: a tool's name, its arguments, and a label for others to refer to."""

    name: str
    arguments: dict[str, Json] = Field(default_factory=dict)
    label: str | None = None

    @cached_property
    def references(self) -> tuple[Ref, ...]:
        """Every reference among the arguments, at any depth."""
        found: list[Ref] = []

        def walk(value: Json) -> None:
            if isinstance(value, str):
                if ref := Ref.read(value):
                    found.append(ref)
            elif isinstance(value, dict | list):
                for item in value.values() if isinstance(value, dict) else value:
                    walk(item)

        walk(self.arguments)
        return tuple(found)


class Result(Noun):
    """What a call gave back: a JSON value, or an error's text."""

    label: str | None = None
    name: str = ""
    value: Json = None
    error: str | None = None


class Message(Part):
    """One turn of a conversation."""

    role: Role = "assistant"
    text: str = ""
    thought: str = ""
    calls: tuple[Call, ...] = ()
    results: tuple[Result, ...] = ()


class Origin(Part):
    """Where a record comes from; it travels with every row that is derived from it."""

    dataset: str
    row: str
    licence: str
    split: str = ""


class Accept(Noun):
    """What else is right for one argument, beside the gold value itself.

    `mode` is one of `verify.values.MODES`; `omissible` says that leaving the argument
    out is right too (BFCL writes that as an empty string among the accepted values).
    """

    values: tuple[Json, ...] = ()
    omissible: bool = False
    mode: str = "exact"


class Answer(Noun):
    """What is right: a decision, the calls as a small graph, and what may vary.

    `before` holds pairs (i, j): call i must come before call j. References between
    calls order them too, and need not be repeated there. `ordered` asks for the listed
    order as it stands. `accepts` is keyed `"<call index>.<parameter>"`. `instead` holds
    other answers that are right as well. `result` is what executing the calls
    gives, under `world`, the name of a built-in executable catalogue ("" where the tools
    cannot be run). `facts` must occur in a written reply; `grounds` may. `native` is the key
    as the data set publishes it, keyed by the grader that reads it (`verify/compat`). `names_only`
    says that the key knows which functions are needed and not their arguments: `names` alone can use it.
    """

    decision: Decision = "call"
    calls: tuple[Call, ...] = ()
    ordered: bool = False
    before: tuple[tuple[int, int], ...] = ()
    accepts: dict[str, Accept] = Field(default_factory=dict)
    instead: tuple[Answer, ...] = ()
    text: str = ""
    facts: tuple[str, ...] = ()
    result: Json = None
    world: str = ""
    native: dict[str, Json] | None = Field(default=None, exclude_if=_unset)
    names_only: bool = Field(default=False, exclude_if=_unset)

    @property
    def message(self) -> Message:
        """The assistant turn that gives exactly this answer."""
        return Message.trusted(
            {"role": "assistant", "text": self.text, "thought": "", "calls": self.calls, "results": ()}
        )


class Trace(Noun):
    """One request in its conversation, canonical: every sub-task's samples are cut from it.

    `messages` end with the turn that is to be answered; `gold` says what is right,
    `results` what the gold calls gave (one a call, or none at all), `reply` the sentence
    that answered the user from those results.
    """

    tools: tuple[Tool, ...]
    messages: tuple[Message, ...]
    gold: Answer
    results: tuple[Result, ...] = ()
    reply: str = ""
    traits: dict[str, str | int | float | bool] = Field(default_factory=dict)
    origin: Origin

    def spelt(self) -> bytes:
        """Canonical JSON, joined from the spellings of its parts."""
        out = [b'{"gold":', self.gold.spelt()]
        add_list(out, b',"messages":[', [m.spelling for m in self.messages])
        out += (b',"origin":', self.origin.spelling, b',"reply":', canonical(self.reply))
        add_list(out, b',"results":[', [r.spelt() for r in self.results])
        add_list(out, b',"tools":[', [t.spelling for t in self.tools])
        return b"".join((*out, b',"traits":', canonical(self.traits), b"}"))


class Sampling(Part):
    """How a reply is drawn: temperature 0 is greedy. `scores` asks for what `Reply.margins` and `entropies` hold."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int = 0
    scores: bool = Field(default=False, exclude_if=_unset)


_GREEDY = Sampling()


class Prompt(Noun):
    """All that a model may see. There is no gold field, and that is the point."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    constrain: bool = False
    sampling: Sampling = _GREEDY

    def pieces(self) -> list[bytes]:
        """`spelt` in pieces, for whoever joins them with more."""
        out = [b'{"constrain":true' if self.constrain else b'{"constrain":false']
        add_list(out, b',"messages":[', [m.spelling for m in self.messages])
        out += (b',"sampling":', self.sampling.spelling)
        add_list(out, b',"tools":[', [t.spelling for t in self.tools])
        out.append(b"}")
        return out

    def spelt(self) -> bytes:
        """Canonical JSON, joined from the spellings of its parts."""
        return b"".join(self.pieces())

    def brief(self) -> bytes:
        """Compact JSON, joined from the spellings of its parts."""
        out: list[bytes] = []
        add_list(out, b'{"messages":[', [m.brief_spelling for m in self.messages])
        if self.tools:
            add_list(out, b',"tools":[', [t.brief_spelling for t in self.tools])
        if self.constrain:
            out.append(b',"constrain":true')
        if self.sampling is not _GREEDY and self.sampling != _GREEDY:
            out += (b',"sampling":', self.sampling.brief_spelling)
        out.append(b"}")
        return b"".join(out)


class Sample(Noun):
    """One question on one sub-task."""

    subtask: str
    prompt: Prompt
    answer: Answer
    traits: dict[str, str | int | float | bool] = Field(default_factory=dict)
    origin: Origin

    def spelt(self) -> bytes:
        """Canonical JSON, joined from the spellings of its parts."""
        before = (b'{"answer":', self.answer.spelt(), b',"origin":', self.origin.spelling, b',"prompt":')
        after = (b',"subtask":', canonical(self.subtask), b',"traits":', canonical(self.traits), b"}")
        return b"".join((*before, *self.prompt.pieces(), *after))


class Fault(Noun):
    """One named thing wrong: its kind stands in the closed table of `verify/faults.py`.

    `detail` narrows a kind where something knows better: a form fault's near-miss (`fence`,
    `single_quotes`, ...), another grader's own name of the error.
    """

    kind: str
    where: str = ""
    expected: Json = None
    given: Json = None
    detail: str = Field(default="", exclude_if=_unset)


class Reply(Noun):
    """What came back: the raw text, what it was read as, or why there is nothing.

    Exactly one of `message`, `fault` (the text could not be read) and `failure` (the
    back end gave no text: refused, timed out) is set. `logprobs` are natural logs of each
    generated token's probability, where the back end gives them. Beside a `fault`,
    `recovered` is the turn that was probably meant: for reports, never for the verdict.
    One a token, where the prompt asked for scores and the back end has them: `margins`, log p of the best
    allowed token minus that of the next (None where the grammar left no choice), and `entropies`, in nats over
    the allowed tokens (over those that an endpoint names, made to add up to 1).
    """

    text: str = ""
    message: Message | None = None
    fault: Fault | None = None
    failure: str | None = None
    recovered: Message | None = Field(default=None, exclude_if=_unset)
    tokens: tuple[str, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    margins: tuple[float | None, ...] | None = Field(default=None, exclude_if=_unset)
    entropies: tuple[float, ...] | None = Field(default=None, exclude_if=_unset)
    usage: dict[str, int] = Field(default_factory=dict)

    @classmethod
    def spoken(cls, text: str, read: Message | Fault, **more: Any) -> Self:
        """A reply from a dialect's reading of `text`."""
        if isinstance(read, Fault):
            return cls(text=text, fault=read, **more)
        return cls(text=text, message=read, **more)


class Verdict(Noun):
    """The judgement: every fault, worst level first, and how much was right.

    `score` is in [0, 1] and is 1 exactly where there is no fault. `state` is `graded`,
    or `not_applicable` / `grader_error`: those two are left out of every mean and counted.
    `measures` are further figures of the sub-task (F1, longest right prefix, ...).
    """

    faults: tuple[Fault, ...] = ()
    score: float = 1.0
    state: State = "graded"
    detail: str = ""
    measures: dict[str, float] = Field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Graded, and nothing wrong."""
        return self.state == "graded" and not self.faults

    @property
    def first(self) -> Fault | None:
        """The fault of the lowest level: the one that a report blames."""
        return self.faults[0] if self.faults else None


class Pair(Noun):
    """A preference: for one prompt, a right turn and one wrong in a named way."""

    prompt: Prompt
    chosen: Message
    rejected: Message
    fault: Fault
    origin: Origin


class Reading(Noun):
    """One number with its interval (95 %), its n and the slice that it speaks of."""

    probe: str
    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    by: dict[str, str | int | float | bool] = Field(default_factory=dict)


def as_traits(values: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """Traits with everything that is not a plain scalar written as text."""
    return {k: v if type(v) in _SCALARS or isinstance(v, str | int | float) else str(v) for k, v in values.items()}


_SCALARS = frozenset({str, int, float, bool})

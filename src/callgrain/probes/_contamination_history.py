"""Conversations before a request: earlier turns that are right or wrong in a named way, and what came back.

An earlier turn is another request of the pool with its calls, their results and the same closing word whatever
happened, so that two histories differ in the calls and what came of them and in nothing else. A wrong turn is made by
`verify/spoil` on that request's own sample. A `consistent` environment gives what the wrong call gives; a `healed`
one gives what the right call would have given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from callgrain.core.canonical import text_key
from callgrain.core.errors import CallgrainError
from callgrain.core.schema import complaint
from callgrain.core.types import Call, Json, Message, Reply, Result, Sample, Tool, Trace
from callgrain.dialects._chat import result_text
from callgrain.probes._graded import subtask_of
from callgrain.sources._edits import check_gold, derived
from callgrain.sources._folder import SkipError
from callgrain.sources._pool import gold_tools, is_right_too
from callgrain.sources.joined import part
from callgrain.sources.stumbled import complaint_of
from callgrain.tools._catalogue import Catalogue, open_world
from callgrain.tools._execute import execute
from callgrain.verify.candidates import invented
from callgrain.verify.lint import lint, too_deep
from callgrain.verify.spoil import spoil

SUBTASK = "full"
"""The umbrella: whatever the request takes, in one turn."""
ENVIRONMENTS = ("consistent", "healed")
CLOSING = "Done."
"""The assistant's last word on every earlier request, right or wrong."""
UNREAD = "That could not be read as a call."
READ = "That was understood. It gives: {}"
NOTHING = "nothing found for these arguments"
MOST_TOOLS = 48
"""Most tools that are shown: what the earlier requests need is added to what the last one shows."""
CALLS = 2
"""Most calls of an earlier request: a history is to be long in turns, not in calls."""


@dataclass(frozen=True)
class Exchange:
    """One earlier request: what the assistant's turn was, what came back, and what is true after it (`state`)."""

    request: str
    turn: Message
    results: tuple[Result, ...] = ()
    note: str = ""
    closing: str = CLOSING
    is_wrong: bool = False
    state: str = ""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The exchange as turns; a note is the user's, for no result can answer a text."""
        out = [Message(role="user", text=self.request), self.turn]
        if self.results:
            out.append(Message(role="tool", results=self.results))
        if self.note:
            out.append(Message(role="user", text=self.note))
        if self.closing:
            out.append(Message(role="assistant", text=self.closing))
        return tuple(out)


@dataclass(frozen=True)
class Scene:
    """A request, the requests that may stand before it (with calls due; with none due), and the tools of all."""

    base: Trace
    calls: tuple[Trace, ...]
    answers: tuple[Trace, ...]
    tools: tuple[Tool, ...]


@dataclass(frozen=True)
class Earlier:
    """The requests of a pool that can stand before another: those that a call is due for, and those that it is not."""

    calls: tuple[Trace, ...]
    answers: tuple[Trace, ...]
    behind: Mapping[str, str]

    @classmethod
    def of(cls, traces: Mapping[str, Trace]) -> Earlier:
        """Requests of one user's turn, with no call before them and none that waits for another's result.

        `behind` leads from the key of such a request to the key of the trace that it was made from.
        """
        calls: dict[str, Trace] = {}
        answers: list[Trace] = []
        behind: dict[str, str] = {}
        for key, trace in traces.items():
            if trace.gold.decision == "answer":
                answers += [trace] if _is_plain_answer(trace) else []
            elif (found := _single(trace)) is not None:
                calls[found.key] = found
                behind[found.key] = key
        return cls(tuple(calls.values()), tuple(answers), behind)

    def before(self, base: Trace, turns: int, rng: Random) -> Scene:
        """The request with up to `turns` others of each sort that go with it and with each other."""
        chosen: list[Trace] = []
        tools = {tool.name: tool for tool in base.tools}
        for trace in rng.sample(self.calls, len(self.calls)):
            if len(chosen) == turns:
                break
            if goes_with(trace, [base, *chosen], tools):
                chosen.append(trace)
                tools |= {tool.name: tool for tool in gold_tools(trace) if tool.name not in tools}
        said = {request_of(trace) for trace in (base, *chosen)}
        answers: dict[str, Trace] = {}
        for trace in rng.sample(self.answers, len(self.answers)):
            if len(answers) < turns and request_of(trace) not in said and system_of(trace) == system_of(base):
                answers.setdefault(request_of(trace), trace)
        shown = list(tools.values())
        rng.shuffle(shown)
        return Scene(base, tuple(chosen), tuple(answers.values()), tuple(shown))


def goes_with(trace: Trace, others: Sequence[Trace], tools: Mapping[str, Tool]) -> bool:
    """Whether a request can stand in one conversation with others: its tools and theirs leave no choice open."""
    own = {tool.name: tool for tool in gold_tools(trace)}
    fresh = [tool for name, tool in own.items() if name not in tools]
    if len(tools) + len(fresh) > MOST_TOOLS or any(t.key != tools[n].key for n, t in own.items() if n in tools):
        return False
    if system_of(trace) != system_of(others[0]) or request_of(trace) in {request_of(other) for other in others}:
        return False
    if any(is_right_too(tool, other) for tool in fresh for other in others):
        return False
    return not any(is_right_too(tool, trace) for name, tool in tools.items() if name not in own)


def _single(trace: Trace) -> Trace | None:
    try:
        found = part(trace)
    except (SkipError, RecursionError):
        return None
    return found if len(found.gold.calls) <= CALLS and request_of(found) else None


def _is_plain_answer(trace: Trace) -> bool:
    users = [m for m in trace.messages if m.role != "system"]
    return len(users) == 1 and users[0].role == "user" and bool(users[0].text and trace.gold.text)


def is_base(trace: Trace) -> bool:
    """Whether a turn can be judged whole: calls are due, with known arguments that fit their tools."""
    try:
        check_gold(trace)
    except (SkipError, RecursionError):
        return False
    return bool(trace.messages) and trace.messages[-1].role == "user"


def request_of(trace: Trace) -> str:
    """What the user says last."""
    return next((m.text for m in reversed(trace.messages) if m.role == "user"), "")


def system_of(trace: Trace) -> str:
    """The system turns that the trace brings along."""
    return "\n".join(m.text for m in trace.messages if m.role == "system")


def asked(trace: Trace, tools: Sequence[Tool], history: Sequence[Message] = (), lead: str = "") -> Sample | None:
    """The trace's whole turn as a question after a history; `lead` stands before what the user says."""
    system = [m for m in trace.messages if m.role == "system"]
    own = [m for m in trace.messages if m.role != "system"]
    if lead:
        at = next(i for i, m in enumerate(own) if m.role == "user")
        own[at] = own[at].model_copy(update={"text": f"{lead}\n{own[at].text}"})
    edited = derived(trace, "contaminated", messages=(*system, *history, *own), tools=tuple(tools))
    rng = Random(text_key("contamination", trace.key))
    return next(iter(subtask_of(SUBTASK).samples(edited, rng)), None)


# earlier turns -------------------------------------------------------------------------------


class _Shown:
    """A request and the tools that are shown, as a key by their content."""

    __slots__ = ("name", "tools", "trace")

    def __init__(self, trace: Trace, tools: tuple[Tool, ...]) -> None:
        self.trace, self.tools = trace, tools
        self.name = (trace.key, *(tool.key for tool in tools))

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shown) and self.name == other.name


@lru_cache(maxsize=256)
def _wrong(fault: str, shown: _Shown) -> Reply | None:
    """The request's turn made wrong in one way among the tools shown, or None where that cannot be made."""
    sample = asked(shown.trace, shown.tools)
    return None if sample is None else spoil(fault, sample, Random(text_key("contamination", fault, shown.trace.key)))


def exchange(trace: Trace, tools: tuple[Tool, ...], fault: str = "", environment: str = ENVIRONMENTS[0]) -> Exchange:
    """The request as it was answered: rightly, or with a fault. What the fault cannot be made on stays right."""
    reply = _wrong(fault, _Shown(trace, tools)) if fault else None
    rng = Random(text_key("contamination", "result", trace.key))
    right = right_results(trace, rng)
    said, state = request_of(trace), "; ".join(result_text(r) for r in right)
    if trace.gold.decision == "answer":
        return _answered(trace, tools, reply, environment)
    calls = tuple(c.model_copy(update={"label": None}) for c in trace.gold.calls)
    if reply is None:
        return Exchange(said, Message(role="assistant", calls=calls), right, state=state)
    if reply.message is None:
        note = UNREAD if environment == ENVIRONMENTS[0] else READ.format(state)
        return Exchange(said, Message(role="assistant", text=reply.text), note=note, is_wrong=True, state=state)
    made = reply.message.calls
    if environment == ENVIRONMENTS[0]:
        results = given(made, tools, trace.gold.world, dict(zip((c.key for c in calls), right, strict=True)))
    else:
        results = tuple(r.model_copy(update={"name": c.name}) for c, r in zip(made, right, strict=False))
    turn = Message(role="assistant", calls=made)
    return Exchange(said, turn, results, is_wrong=True, state=state)


def _answered(trace: Trace, tools: tuple[Tool, ...], reply: Reply | None, environment: str) -> Exchange:
    """A request that no call is due for; where one is made all the same, it is answered after it."""
    said, text = request_of(trace), trace.gold.text
    if reply is None or reply.message is None:
        return Exchange(said, Message(role="assistant", text=text), closing="", state=text)
    made = reply.message.calls
    nothing = tuple(Result(name=call.name) for call in made)
    results = given(made, tools, trace.gold.world, {}) if environment == ENVIRONMENTS[0] else nothing
    return Exchange(said, Message(role="assistant", calls=made), results, closing=text, is_wrong=True, state=text)


def right_results(trace: Trace, rng: Random) -> tuple[Result, ...]:
    """What the gold calls gave; where the source does not tell, values of the shape that the tools state."""
    calls = trace.gold.calls
    if len(trace.results) == len(calls):
        named = zip(calls, trace.results, strict=True)
        return tuple(r.model_copy(update={"label": None, "name": c.name}) for c, r in named)
    tools = {tool.name: tool for tool in trace.tools}
    return tuple(Result(name=c.name, value=shaped(tools.get(c.name), rng)) for c in calls)


def given(calls: Sequence[Call], tools: Sequence[Tool], world: str, known: Mapping[str, Result]) -> tuple[Result, ...]:
    """What an environment gives for calls: by running them, else by its schema and by what is `known` (by call's key).

    A call that fits its schema and is not known gives a value of the tool's shape, or an error where it states none.
    """
    if any(map(too_deep, calls)):
        return tuple(Result(name=call.name, error="nested too deeply") for call in calls)
    if (catalogue := _world(world)) is not None:
        labels = {call.label for call in calls}
        done = execute(calls, catalogue)
        return tuple(r if r.label in labels else r.model_copy(update={"label": None}) for r in done)
    return tuple(_guessed(call, tools, known) for call in calls)


def _guessed(call: Call, tools: Sequence[Tool], known: Mapping[str, Result]) -> Result:
    rng = Random(text_key("contamination", "given", call.key))
    bare = call.model_copy(update={"label": None})
    if (found := known.get(bare.key)) is not None:
        return found
    if seen := [f for f in lint((bare,), tools) if f.kind != "broken_reference"]:
        return Result(label=call.label, name=call.name, error=complaint_of(seen[0], tuple(tools), rng))
    tool = next(t for t in tools if t.name == call.name)
    if tool.returns is None:
        return Result(label=call.label, name=call.name, error=NOTHING)
    return Result(label=call.label, name=call.name, value=shaped(tool, rng))


@lru_cache(maxsize=64)
def _world(spec: str) -> Catalogue | None:
    try:
        return open_world(spec) if spec else None
    except CallgrainError:  # a data file may name a world that there is not
        return None


def shaped(tool: Tool | None, rng: Random) -> Json:
    """A value as the tool's schema of results has it, or a bare acknowledgement where it states none."""
    schema = tool.returns if tool else None
    if not schema:
        return {"status": "ok"}
    fields = schema.get("properties")
    if isinstance(fields, dict):
        return {str(name): _fitting(inner, rng) for name, inner in list(fields.items())[:8]}
    return _fitting(schema, rng)


def _fitting(schema: Json, rng: Random) -> Json:
    own = schema if isinstance(schema, dict) else {}
    fits = [value for value in invented(own) if complaint(own, value) is None]
    if not fits:
        return None
    value = fits[0]
    if value == "zzyzx":
        return f"x{rng.randrange(100, 1000)}"
    return rng.randrange(10, 1000) if value == 424242 and type(value) is int else value


__all__ = [
    "CALLS", "CLOSING", "ENVIRONMENTS", "SUBTASK", "UNREAD", "Earlier", "Exchange", "Scene", "asked", "exchange",
    "given", "goes_with", "is_base", "request_of", "right_results", "shaped", "system_of",
]  # fmt: skip

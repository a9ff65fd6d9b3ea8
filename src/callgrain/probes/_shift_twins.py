"""Twins by structure and by name: what a trace becomes when one thing about it changes.

Each maker gives another Trace whose right answer is known for certain, or raises SkipError: a twin that would
not be solvable, or right in two ways, is not made. The edits are those of the wrapping sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

from callgrain.core.canonical import text_key
from callgrain.core.types import Answer, Call, Json, Result, Tool, Trace
from callgrain.probes._shift_words import in_other_words, with_sentence
from callgrain.sources._edits import check_gold, derived, parts, words
from callgrain.sources._pool import Pool, gold_tools
from callgrain.sources._renamed import Names, parameter_names, renamed
from callgrain.sources._wrapping import SkipError
from callgrain.sources.masked import drawn
from callgrain.sources.reworded import respelt
from callgrain.sources.toolworld import ALIKE
from callgrain.sources.twinned import exchanged, without_value
from callgrain.subtasks._cut import done, predecessors, tidy
from callgrain.tools._catalogue import ToolError
from callgrain.tools._execute import references, resolved, shape

LEAST_WORDS = 2
"""Words of a description that says what a tool does."""
NO_CALL = {"n_calls": 0, "depth": 0, "width": 0, "fan_in": 0}
"""The shape of an answer without calls."""


def plain(trace: Trace) -> None:
    """Raises SkipError where the gold is not one set of calls that fits its tools, or the request is not said last."""
    check_gold(trace)
    if trace.gold.instead:
        raise SkipError("another answer is right too")
    if not trace.messages or trace.messages[-1].role != "user":
        raise SkipError("no request at the end")


def unused(trace: Trace) -> None:
    """Raises SkipError where an earlier turn calls a tool that is due: the history would tell of the old one."""
    due = {call.name for call in trace.gold.calls}
    if any(call.name in due for message in trace.messages for call in message.calls):
        raise SkipError("an earlier call of the same function")


def unrun(gold: Answer, **changes: object) -> Answer:
    """The answer with `changes`, no longer tied to a world that would not run it."""
    return gold.model_copy(update={**changes, "world": "", "result": None if gold.world else gold.result})


def _strangers(trace: Trace, others: Pool) -> list[Tool]:
    """Tools for the places of the gold's, and one more; the same for both twins of a trace.

    Near ones only where the tools are those of a built-in world, of which no two do the same.
    """
    rng = Random(text_key("shift", "strangers", trace.key))
    wanted = len(gold_tools(trace)) + 1
    names = {tool.name for tool in trace.tools}
    alike = {name for group in ALIKE if group & names for name in group}
    found = others.beside(trace, wanted + len(alike), 1.0 if trace.gold.world else 0.0, rng)
    found = [tool for tool in found if tool.name not in alike][:wanted]
    if len(found) < wanted:
        raise SkipError("no other function to show")
    return found


def no_tool(trace: Trace, others: Pool, rng: Random) -> Trace:
    """The tools that are due give way to others: declining is right."""
    del rng
    plain(trace)
    unused(trace)
    tools = exchanged(trace, gold_tools(trace), _strangers(trace, others))
    gold, traits = Answer(decision="decline"), {"kind": "decline", **NO_CALL}
    return derived(trace, "no_tool", tools=tools, gold=gold, results=(), reply="", traits=traits)


def added(trace: Trace, others: Pool, rng: Random) -> Trace:
    """One more tool is shown: the calls stay right."""
    plain(trace)
    unused(trace)
    shown = list(trace.tools)
    shown.insert(rng.randrange(len(shown) + 1), _strangers(trace, others)[-1])
    return derived(trace, "added", tools=tuple(shown))


def no_value(trace: Trace, others: Pool, rng: Random) -> Trace:
    """A required value goes from the request: asking is right."""
    del others
    plain(trace)
    messages, question = without_value(trace, rng)
    gold, traits = Answer(decision="ask", text=question), {"kind": "ask", **NO_CALL}
    return derived(trace, "no_value", messages=messages, gold=gold, results=(), reply="", traits=traits)


_MORE: tuple[tuple[str, str, str, str], ...] = (
    ("reference_code", "the user's own reference code", "My reference code is {}.", "with reference code {}"),
    ("voucher_number", "number of the user's voucher", "My voucher number is {}.", "with voucher number {}"),
    ("member_key", "key of the user's membership", "My member key is {}.", "with member key {}"),
)
"""Parameters that any tool might want: name, description, the sentence that gives the value, the clause."""


def one_more_parameter(trace: Trace, others: Pool, rng: Random) -> Trace:
    """A tool that is due requires one more value, which the request says: each of its calls must give it."""
    del others
    plain(trace)
    unused(trace)
    tool = rng.choice(gold_tools(trace))
    taken = {name for one in trace.tools for name in one.properties}
    name, about, sentence, clause = rng.choice(_MORE)
    declared = tool.parameters.get("properties", {})
    if not isinstance(declared, dict):
        raise SkipError("parameters that cannot be read")
    said = "\n".join(message.text for message in trace.messages)
    if name in taken or words(name) & words(said):
        raise SkipError("a parameter of that name, or talk of it")
    value = f"{''.join(rng.sample('KLMPRTVX', 2))}{rng.randint(100, 999)}"
    text = trace.messages[-1].text
    messages = (
        *trace.messages[:-1],
        trace.messages[-1].model_copy(
            update={"text": with_sentence(text, sentence.format(value), clause.format(value))}
        ),
    )
    more = {"type": "string", "description": about}
    parameters = {
        **tool.parameters,
        "properties": {**declared, name: more},
        "required": [*tool.required, name],
    }
    tools = tuple(t.model_copy(update={"parameters": parameters}) if t is tool else t for t in trace.tools)
    calls = tuple(
        call.model_copy(update={"arguments": {**call.arguments, name: value}}) if call.name == tool.name else call
        for call in trace.gold.calls
    )
    return derived(trace, "one_more_parameter", tools=tools, messages=messages, gold=unrun(trace.gold, calls=calls))


def shorter(trace: Trace, others: Pool, rng: Random) -> Trace:
    """The first step is done and its result is there: the rest of the chain is due."""
    del others
    plain(trace)
    gold = trace.gold
    before = predecessors(gold)
    leading = [i for i in range(len(gold.calls)) if not before[i] and any(i in above for above in before)]
    if not leading or len(trace.results) != len(gold.calls):
        raise SkipError("no step that others wait for, or no result of it")
    first = rng.choice(leading)
    history = done(trace, [first])
    result = trace.results[first]
    if history is None or result.error is not None:
        raise SkipError("no result of the first step")
    rest = [i for i in range(len(gold.calls)) if i != first]
    calls = tidy([_supplied(gold.calls[i], gold.calls[first].label, result) for i in rest])
    place = {old: new for new, old in enumerate(rest)}
    accepts = {
        f"{place[int(i)]}.{name}": accept
        for (i, _, name), accept in ((key.partition("."), accept) for key, accept in gold.accepts.items())
        if int(i) in place
    }
    pairs = tuple((place[i], place[j]) for i, j in gold.before if i in place and j in place)
    return derived(
        trace,
        "shorter",
        messages=(*trace.messages, *history),
        gold=unrun(gold, calls=calls, accepts=accepts, before=pairs, facts=()),
        results=tuple(trace.results[i] for i in rest),
        traits=shape(calls),
    )


def _supplied(call: Call, label: str | None, result: Result) -> Call:
    """The call with its references to one result replaced by what that result holds."""
    if label is None or not any(ref.label == label for ref in references(call)):
        return call
    arguments: dict[str, Json] = {}
    for name, value in call.arguments.items():
        alone = call.model_copy(update={"arguments": {name: value}})
        labels = {ref.label for ref in references(alone)}
        if label not in labels:
            arguments[name] = value
        elif labels == {label}:
            try:
                arguments |= resolved(alone, {label: result}).arguments
            except ToolError as error:
                raise SkipError("a reference that leads nowhere") from error
        else:  # a list that takes several results: only some of them are there
            raise SkipError("a value out of several results")
    return call.model_copy(update={"arguments": arguments})


def made_up(trace: Trace, rng: Random) -> Trace:
    """The trace under made-up names, its descriptions as they were.

    Raises SkipError where these do not tell the tools, or a tool's parameters, apart.
    """
    said = [tool.description.strip().lower() for tool in trace.tools]
    if len(set(said)) < len(said) or any(len(text.split()) < LEAST_WORDS for text in said):
        raise SkipError("descriptions that do not tell the tools apart")
    for tool in trace.tools:
        about = [schema.get("description") for schema in tool.properties.values() if isinstance(schema, dict)]
        if len({str(text).lower() for text in about if text}) < len(tool.properties):
            raise SkipError("a parameter that nothing but its name tells of")
    tools, parameters = _names(trace)
    fresh = drawn(rng, trace.model_dump_json().lower())
    return _under(trace, {name: next(fresh) for name in tools}, {name: next(fresh) for name in parameters})


def _names(trace: Trace) -> tuple[list[str], list[str]]:
    """Names of functions, those of earlier calls among them, and of parameters."""
    tools = dict.fromkeys([*(t.name for t in trace.tools), *(c.name for m in trace.messages for c in m.calls)])
    return list(tools), parameter_names(trace.tools)


def _under(trace: Trace, tools: dict[str, str], parameters: dict[str, str]) -> Trace:
    """The trace under other names; a name that is written as plain words in a description stays there."""
    plain_words = {word: word for name in (*tools, *parameters) if (word := " ".join(parts(name)))}
    return renamed(trace, Names(tools, parameters, plain_words))


def rename(trace: Trace, others: Pool, rng: Random) -> Trace:
    """Functions and parameters under made-up names: only descriptions say what they are."""
    del others
    plain(trace)
    return derived(made_up(trace, rng), "rename")


def respell(trace: Trace, others: Pool, rng: Random) -> Trace:
    """Functions and parameters under other words of the same meaning, in another case."""
    del others
    plain(trace)
    tools, parameters = _names(trace)
    out = _under(trace, respelt(tools, _camel, rng, fixes=True), respelt(parameters, _camel, rng, fixes=False))
    if any(new.name == old.name for new, old in zip(out.gold.calls, trace.gold.calls, strict=True)):
        raise SkipError("names that stay as they are")
    return derived(out, "respell")


def _camel(spelt: Iterable[str]) -> str:
    return "".join(word if i == 0 else word.capitalize() for i, word in enumerate(spelt))


def reword(trace: Trace, others: Pool, rng: Random) -> Trace:
    """The request in other words."""
    del others
    plain(trace)
    return derived(trace, "reword", messages=in_other_words(trace.messages, rng))


def reorder(trace: Trace, others: Pool, rng: Random) -> Trace:
    """Tools and parameters in another order."""
    del others
    plain(trace)
    return derived(trace, "reorder", tools=reordered(trace.tools, rng))


def reordered(tools: Sequence[Tool], rng: Random) -> tuple[Tool, ...]:
    """The tools moved round by one or more, the parameters of each too. Raises SkipError for a single tool."""
    if len(tools) < 2:
        raise SkipError("a single tool")
    by = rng.randrange(1, len(tools))
    return tuple(_turned(tool, rng) for tool in (*tools[by:], *tools[:by]))


def _turned(tool: Tool, rng: Random) -> Tool:
    properties = tool.parameters.get("properties")
    if not isinstance(properties, dict) or len(properties) < 2:
        return tool
    by = rng.randrange(1, len(properties))
    order = [*properties][by:] + [*properties][:by]
    return tool.model_copy(update={"parameters": {**tool.parameters, "properties": {n: properties[n] for n in order}}})

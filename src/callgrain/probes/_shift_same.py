"""What two replies have in common: calls as leaves, whatever their order, labels and spelling.

A leaf is (function, path of the argument, value). Numbers are equal as numbers, texts without outer white space,
defaults stand in for what is left out, and a reference names the function whose result it takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from callgrain.core.canonical import canonical
from callgrain.core.types import Call, Json, Ref, Reply, Sample, Tool
from callgrain.probes._shift_edits import Fact, edited_call
from callgrain.sources._edits import leaves
from callgrain.sources._renamed import parameter_names
from callgrain.verify.lint import too_deep
from callgrain.verify.values import text, with_defaults

Leaf = tuple[str, str, bytes]
Leaves = Counter[Leaf]


def calls_of(reply: Reply) -> tuple[Call, ...]:
    """The calls of a reply that can be compared; none where it cannot be read or one is nested too deeply."""
    calls = reply.message.calls if reply.message else ()
    return () if any(map(too_deep, calls)) else calls


def leaves_of(calls: Sequence[Call], tools: Sequence[Tool], names: Mapping[str, str] | None = None) -> Leaves:
    """The leaves of some calls, each with its multiplicity; `names` translates names of parameters."""
    old = names or {}
    declared = {tool.name: tool.properties for tool in tools}
    labelled = {call.label: call.name for call in calls if call.label}
    found: Leaves = Counter()
    for call in calls:
        found[call.name, "", b""] += 1
        for name, value in with_defaults(call.arguments, declared.get(call.name, {})).items():
            for path, leaf in leaves(value, name):
                found[call.name, _renamed(path, old), _plain(leaf, labelled, old)] += 1
    return found


def _renamed(path: str, names: Mapping[str, str]) -> str:
    return ".".join(names.get(part, part) for part in path.split("."))


def _plain(value: Json, labelled: Mapping[str, str], names: Mapping[str, str]) -> bytes:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        ref = Ref.read(value)
        value = text(value) if ref is None else f"${labelled.get(ref.label, ref.label)}.{_renamed(ref.path, names)}$"
    return canonical(value)


def translation(new: Sample, old: Sample) -> dict[str, str]:
    """Old names of parameters by new: both prompts declare them in the same order."""
    one, other = (parameter_names(sample.prompt.tools) for sample in (new, old))
    return dict(zip(one, other, strict=True)) if len(one) == len(other) else {}


def is_same(new: tuple[Sample, Reply], old: tuple[Sample, Reply]) -> bool:
    """Whether a reply makes the calls of the other; parameters are translated where only they were named anew."""
    (asked, reply), (before, reference) = new, old
    tools = asked.prompt.tools
    is_renamed = asked.traits.get("change") == "rename_parameters"
    names = translation(asked, before) if is_renamed else None
    wanted = leaves_of(calls_of(reference), before.prompt.tools)
    return leaves_of(calls_of(reply), tools, names) == wanted


def moved(reply: Reply, reference: Reply, fact: Fact, tools: Sequence[Tool]) -> tuple[bool, bool] | None:
    """(whether the arguments that held the fact hold the other, whether all else stayed).

    None where no argument of the reference holds the fact, or several might hold a number by chance.
    """
    calls = calls_of(reference)
    before = leaves_of(calls, tools)
    after = leaves_of([edited_call(call, fact) for call in calls], tools)
    target, rest = after - before, after & before
    if not target or (fact.kind == "number" and target.total() > 1):
        return None
    given = leaves_of(calls_of(reply), tools)
    left = given - rest
    return target <= given, rest <= given and _places(left) == _places(target)


def _places(found: Leaves) -> Counter[tuple[str, str]]:
    out: Counter[tuple[str, str]] = Counter()
    for (name, path, _), count in found.items():
        out[name, path] += count
    return out

"""Rules of calls in JSON: one object a call, its name first, its arguments in the order of their declaration."""

from __future__ import annotations

from collections.abc import Sequence

from callgrain.core.types import Tool
from callgrain.dialects._grammar import REFERENCE, Rules, arguments, dumps, is_plain_text, is_too_wide, literal


def call_rules(rules: Rules, tools: Sequence[Tool], around: tuple[str, str, str, str], prefix: str = "") -> str:
    """The rule of one call of any of `tools`; `prefix` tells its rules from those of another spelling.

    `around` is what stands before the name, between name and arguments, before the label ("" where
    there is no place for one), and at the end.
    """
    before, middle, label, end = around
    if not any(line.startswith("REFERENCE:") for line in rules.lines):
        rules.lines.append(f'REFERENCE: /"{REFERENCE}"/')
    ways: list[str] = []
    for number, tool in enumerate(tools):
        head = literal(before + dumps(tool.name) + middle)
        ways.append(f"{head} {_arguments(rules, f'{prefix}args{number}', tool)}")
    labelled = f"({literal(label)} {rules.json({'type': 'string'}, 'label')})? " if label else ""
    rules.rule(f"{prefix}called", *ways)
    return rules.rule(f"{prefix}call", f"{prefix}called {labelled}{literal(end)}")


def _arguments(rules: Rules, name: str, tool: Tool) -> str:
    if is_too_wide(tool):
        rules.loosened.append(f"{tool.name}: too many parameters")
        return rules.json({"type": "object"}, tool.name)

    def spell(parameter: str, _: str) -> str:
        if not parameter:
            return f'{rules.json({"type": "string"}, "name")} ": " {rules.json({}, "any")}'
        schema = tool.properties[parameter]
        value = rules.json(schema, f"{tool.name}.{parameter}")
        key = literal(f"{dumps(parameter)}: ")
        return f"{key} {value}" if is_plain_text(schema) else f"{key} ({value} | REFERENCE)"

    return arguments(rules, name, tool, spell, ("{", ", ", "}", "{}"))

"""Rules of calls on lines, `@label:name parameter=value ...`: plain words bare, every other value JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from callgrain.core.types import Json, Tool
from callgrain.dialects._grammar import (
    ANY,
    REFERENCE,
    SPACE,
    Grammar,
    Rules,
    arguments,
    choices,
    is_plain_text,
    is_too_wide,
    lines,
    literal,
    offered,
    prose,
    takes_text,
    thought_first,
    thought_rule,
)
from callgrain.dialects._turns import CLOSE_THOUGHT, OPEN_THOUGHT

_NAME = r"[A-Za-z_][A-Za-z0-9_.\-\/]*"
_CALLED = rf"({ANY}*[ \t\r\n`])?@{SPACE}*{_NAME}({SPACE}*:{SPACE}*{_NAME})?{SPACE}+{_NAME}{SPACE}*={ANY}*"
_BARE_OBJECT = rf"{SPACE}*\[?{SPACE}*\{{{SPACE}*\"(name|function)\"{ANY}*"
_NUMBER = r"(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+\-]?[0-9]+)?"


def line_grammar(
    tools: Sequence[Tool],
    word: Callable[[str], str],
    spell: Callable[[Json], str],
    *,
    spaced: bool,
    special: frozenset[str],
) -> Grammar:
    """The grammar of turns in lines; `word` spells a name and `spell` a value.

    `spaced` is for tokenizers of words, whose text has one blank before each mark, name and value.
    """
    rules = Rules()
    rules.rule("start", "thought turn")
    thought_rule(rules, OPEN_THOUGHT, CLOSE_THOUGHT, special, blanks=not spaced)
    # The blanks before a text are the thought's, or nobody's: `write` puts none there.
    first = () if spaced else (f"{SPACE}{ANY}*",)
    thought = thought_first(OPEN_THOUGHT, CLOSE_THOUGHT)
    rules.lines.append(prose("TEXT", f"{SPACE}*@{ANY}*", f'{SPACE}*> "{ANY}*', _CALLED, _BARE_OBJECT, thought, *first))
    text = rules.json({"type": "string"}, "text")
    blank = " " if spaced else ""
    turns = ["TEXT", f"{literal(blank + '> ')} {text}", '""']
    if tools:
        rules.lines += [
            rf"BARE: /[A-Za-z0-9_$][A-Za-z0-9_.$\-]{{0,199}}/ & ~/{_NUMBER}|true|false|null/",
            f"REFERENCE: /{REFERENCE}/",
            "LABEL: /[A-Za-z_][A-Za-z0-9_]{0,63}:/",
        ]
        before = f"{literal(blank)} " if blank else ""
        rules.rule("call", f'{literal(blank + "@")} ({before}(LABEL | {text} ":"))? called')
        rules.rule("called", *(_called(rules, n, t, (word, spell), blank) for n, t in enumerate(offered(tools))))
        # A tokenizer of words knows no line's end: the blank before the next mark stands for it.
        rules.rule("calls", "call call*" if spaced else "call (/\\n/ call)*")
        said = literal(f"{blank or chr(10)}> ")
        turns += [f"calls ({said} {text})?"]
    rules.rule("turn", *turns)
    return rules.done()


def _called(
    rules: Rules, number: int, tool: Tool, writers: tuple[Callable[[str], str], Callable[[Json], str]], blank: str
) -> str:
    """One call from its name on."""
    word, spell = writers
    name, where = literal(blank + word(tool.name)), f"args{number}"

    def given(parameter: str, _: str) -> str:
        if not parameter:
            anything = rules.json({}, "any")
            return f"(/{_NAME}/ | {rules.json({'type': 'string'}, 'name')}) {literal('=' + blank)} (BARE | {anything})"
        key = literal(f"{word(parameter)}={blank}")
        return f"{key} ({_value(rules, tool.properties[parameter], f'{tool.name}.{parameter}', spell)})"

    if is_too_wide(tool):
        rules.loosened.append(f"{tool.name}: too many parameters")
        return f'{name} (" " {given("", "")})*'
    return f"{name} {arguments(rules, where, tool, given, (' ', ' ', '', ''))}"


def _value(rules: Rules, schema: Json, where: str, spell: Callable[[Json], str]) -> str:
    """The ways to spell one value."""
    listed = choices(schema)
    if listed is not None:
        return lines([*dict.fromkeys(literal(spell(value)) for value in listed), "REFERENCE"])
    value = rules.json(schema, where)
    if not takes_text(schema):
        return f"{value} | REFERENCE"
    if not is_plain_text(schema) and schema != {} and not _is_open(schema):
        rules.loosened.append(f"{where}: a bare word is held to no more than that it is one")
    return f"BARE | {value}"


def _is_open(schema: Json) -> bool:
    """Whether every text fits, so that any bare word does."""
    return isinstance(schema, dict) and not set(schema) - {"type", "description", "title", "default"}

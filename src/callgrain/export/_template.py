r"""The house dialects as chat templates: the prompt as served is the prompt as trained.

Whoever serves a model calls `tokenizer.apply_chat_template(messages, tools=tools)`; a model that
was trained in our own spelling must find that spelling there. The templates are given messages
and tools in the shape of `dialects/_chat.py` (OpenAI's, arguments as objects), and write what
`Dialect.render` writes, byte for byte. Where that shape or Jinja cannot say what the dialect
says, `LIMITS` names it: the model card repeats it.

Jinja has no regular expressions, so the classes of words are told letter by letter.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from callgrain.core.errors import CallgrainError
from callgrain.core.types import Prompt
from callgrain.dialects._calls import OPENINGS
from callgrain.dialects._chat import as_chat, as_function
from callgrain.dialects.json import HOW
from callgrain.models._decode import prompt_ids
from callgrain.models._load import Loaded

LONGEST_LABEL = 8
"""Letters of the longest id of a call that is taken for a label: ids made by servers are longer."""

LIMITS = (
    f"Ids of calls are written as labels up to {LONGEST_LABEL} letters, and never where they begin with `call_`: "
    "servers make ids of their own, which the model was not trained on.",
    "The results of one round of calls stand in one turn: `tool` messages that follow each other are joined.",
    "Arguments of earlier calls must be objects, not JSON strings (most servers parse them before the template).",
    "Earlier assistant texts that look like broken calls are quoted by a shorter list of signs than in training.",
)
"""What the chat template cannot say as the dialect does."""

_SHARED = r"""
{%- macro thinking(m, body) -%}
{%- set thought = m['reasoning_content'] or '' -%}
{%- if thought or body.lstrip().startswith('<think>') -%}
{{- '<think>' ~ (thought | replace('\\', '\\\\') | replace('</', '<\\/')) ~ '</think>\n' ~ body -}}
{%- else -%}{{- body -}}{%- endif -%}
{%- endmacro -%}
{%- macro labelled(id) -%}
{{- '1' if id and id | length <= LONGEST and id[:5] != 'call_' else '' -}}
{%- endmacro -%}
{%- macro marked(text) -%}
{%- set found = namespace(any=text != text.strip() or '{"name"' in text) -%}
{%- for mark in MARKS -%}{%- if mark in text -%}{%- set found.any = true -%}{%- endif -%}{%- endfor -%}
{{- '1' if found.any else '' -}}
{%- endmacro -%}
"""

_TURNS = r"""
{%- set open = namespace(tool=false) -%}
{%- for m in messages -%}
{%- if m['role'] == 'tool' -%}
{{- ('' if open.tool else '<|tool|>\n') ~ (m['content'] or '') ~ '\n' -}}
{%- elif m['role'] == 'assistant' -%}
{{- '<|assistant|>\n' ~ thinking(m, turn(m)) ~ '<|end|>\n' -}}
{%- elif not (loop.first and m['role'] == 'system') -%}
{{- '<|' ~ m['role'] ~ '|>\n' ~ (m['content'] or '') ~ '\n' -}}
{%- endif -%}
{%- set open.tool = m['role'] == 'tool' -%}
{%- endfor -%}
{{- '<|assistant|>\n' if add_generation_prompt else '' -}}
"""

_HEAD = r"""
{{- BOS -}}
{%- set head = (messages[0]['content'] or '') if messages and messages[0]['role'] == 'system' else '' -%}
"""

_COMPACT = (
    _SHARED
    + r"""
{%- set digits = '0123456789' -%}
{%- set letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ' -%}
{%- macro only(text, allowed) -%}
{%- set all = namespace(ok=text | length > 0) -%}
{%- for c in text -%}{%- if c not in allowed -%}{%- set all.ok = false -%}{%- endif -%}{%- endfor -%}
{{- '1' if all.ok else '' -}}
{%- endmacro -%}
{%- macro number(text) -%}
{%- set halves = (text | replace('E', 'e')).split('e') -%}
{%- set parts = halves[0].split('.') -%}
{%- set power = halves[1] if halves | length > 1 else '1' -%}
{%- set power = power[1:] if power[:1] == '-' else power -%}
{%- set rest = parts[1] if parts | length > 1 else '0' -%}
{%- set whole = parts[0] -%}
{%- if halves | length <= 2 and parts | length <= 2 and only(whole, digits) and only(rest, digits)
   and only(power, digits) and (whole == '0' or whole[:1] != '0') -%}1{%- endif -%}
{%- endmacro -%}
{%- macro bare(text) -%}
{%- if text | length <= 200 and text[:1] in letters ~ digits ~ '_$' and only(text, letters ~ digits ~ '_.$-')
   and text not in ['true', 'false', 'null'] and not number(text) -%}1{%- endif -%}
{%- endmacro -%}
{%- macro word(text) -%}
{%- if text | length <= 200 and text[:1] in letters ~ '_' and only(text, letters ~ digits ~ '_.-/') -%}
{{- text -}}{%- else -%}{{- text | tojson -}}{%- endif -%}
{%- endmacro -%}
{%- macro spell(value) -%}
{%- if value is string and bare(value) -%}{{- value -}}{%- else -%}{{- value | tojson -}}{%- endif -%}
{%- endmacro -%}
{%- macro kind(s) -%}
{%- if s is not mapping -%}any
{%- elif s['enum'] is sequence and s['enum'] is not string and s['enum'] is not mapping and s['enum'] -%}
{%- for v in s['enum'][:20] -%}{{- ('' if loop.first else '|') ~ spell(v) -}}{%- endfor -%}
{{- '|...' if s['enum'] | length > 20 else '' -}}
{%- else -%}
{%- set type = s['type'] if 'type' in s else 'any' -%}
{%- set fields = s['properties'] if s['properties'] is mapping else {} -%}
{%- if type == 'array' -%}{{- '[' ~ (kind(s['items'] if 'items' in s else {}) or 'string') ~ ']' -}}
{%- elif type == 'object' and fields -%}
{{- '{' -}}
{%- for name in (fields | list)[:12] -%}
{{- ('' if loop.first else ',') ~ word(name) ~ ':' ~ (kind(fields[name]) or 'string') -}}
{%- endfor -%}
{{- '}' -}}
{%- elif type == 'string' -%}
{%- elif type is sequence and type is not string -%}{{- type | join('|') -}}
{%- else -%}{{- type -}}
{%- endif -%}
{%- endif -%}
{%- endmacro -%}
{%- macro named(text) -%}
{%- if text is string and word(text) == text -%}{{- text -}}{%- endif -%}
{%- endmacro -%}
{%- macro signature(f) -%}
{%- set schema = f['parameters'] or {} -%}
{%- set fields = schema['properties'] if schema['properties'] is mapping else {} -%}
{{- word(f['name']) -}}
{%- for name in fields | list -%}
{{- ' ' ~ word(name) ~ ('' if name in (schema['required'] or []) else '?') ~ '=' ~ kind(fields[name]) -}}
{%- endfor -%}
{%- if f['return'] -%}
{{- ' -> ' ~ (named(f['return']['title']) or kind(f['return']) or 'string') -}}
{%- endif -%}
{%- if f['description'] -%}{{- ' # ' ~ (f['description'].split() | join(' '))[:200] -}}{%- endif -%}
{%- endmacro -%}
{%- macro turn(m) -%}
{%- set text = m['content'] or '' -%}
{%- if m['tool_calls'] -%}
{%- for c in m['tool_calls'] -%}
{{- ('' if loop.first else '\n') ~ '@' ~ ((word(c['id']) ~ ':') if labelled(c['id']) else '') -}}
{{- word(c['function']['name']) -}}
{%- for name, value in c['function']['arguments'].items() -%}
{{- ' ' ~ word(name) ~ '=' ~ spell(value) -}}
{%- endfor -%}
{%- endfor -%}
{{- ('\n> ' ~ (text | tojson)) if text else '' -}}
{%- elif text[:1] == '@' or text[:3] == '> "' or marked(text) -%}{{- '> ' ~ (text | tojson) -}}
{%- else -%}{{- text -}}
{%- endif -%}
{%- endmacro -%}
"""
    + _HEAD
    + r"""
{{- ('<|system|>\n' ~ head ~ '\n') if head else '' -}}
{%- if tools -%}
{{- '<|tools|>\n' -}}
{%- for t in tools -%}{{- signature(t['function']) ~ ' ;\n' -}}{%- endfor -%}
{%- endif -%}
"""
    + _TURNS
)

_JSON = (
    _SHARED
    + r"""
{%- macro turn(m) -%}
{%- set text = m['content'] or '' -%}
{%- set quoted = marked(text) or text[:1] == '{' or text[:2] in ['[{', '["', '[]', '[['] -%}
{%- if m['tool_calls'] -%}
{{- ('{"text": ' ~ (text | tojson) ~ ', "calls": ') if text else '' -}}[
{%- for c in m['tool_calls'] -%}
{%- set call = {'name': c['function']['name'], 'arguments': c['function']['arguments']} -%}
{%- set own = {'name': call['name'], 'arguments': call['arguments'], 'label': c['id']} -%}
{{- ('' if loop.first else ', ') ~ ((own if labelled(c['id']) else call) | tojson) -}}
{%- endfor -%}
]{{- '}' if text else '' -}}
{%- elif quoted -%}{{- {'text': text} | tojson -}}
{%- else -%}{{- text -}}
{%- endif -%}
{%- endmacro -%}
"""
    + _HEAD
    + r"""
{%- if tools -%}
{%- set intro -%}{{- head ~ '\n\n' ~ HOW ~ '\n\nFunctions:' -}}
{%- for t in tools -%}{{- '\n' ~ (t['function'] | tojson) -}}{%- endfor -%}
{%- endset -%}
{{- '<|system|>\n' ~ intro.strip() ~ '\n' -}}
{%- elif head -%}{{- '<|system|>\n' ~ head ~ '\n' -}}
{%- endif -%}
"""
    + _TURNS
)

_TEMPLATES = {"compact": _COMPACT, "json": _JSON}


def template_for(dialect_id: str, tokenizer: Any) -> str | None:
    """The chat template that writes prompts as the dialect does; None where there is none to write.

    It opens with the tokenizer's opening token where a prompt is trained with one. A model that was
    trained in its own chat template keeps that one.
    """
    if dialect_id not in _TEMPLATES:
        return None
    opening = tokenizer.bos_token_id
    opens = opening is not None and tokenizer.encode("")[:1] == [opening]
    known = {
        "BOS": tokenizer.bos_token if opens else "",
        "HOW": HOW,
        "MARKS": list(OPENINGS),
        "LONGEST": LONGEST_LABEL,
    }
    constants = "".join(f"{{%- set {name} = {json.dumps(value)} -%}}" for name, value in known.items())
    return constants + _TEMPLATES[dialect_id].strip("\n")


def templated_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Token ids of a prompt as a server makes them: by the tokenizer's chat template."""
    tools = [as_function(tool) for tool in prompt.tools] or None
    text: str = tokenizer.apply_chat_template(
        as_chat(prompt.messages), tools=tools, add_generation_prompt=True, tokenize=False
    )
    return tokenizer.encode(text, add_special_tokens=False)


def parity(trained: Loaded, served: Any, prompts: Sequence[Prompt]) -> tuple[int, list[int]]:
    """(prompts that can be compared, numbers of those that the template spells otherwise than training does).

    Compared are token ids: those of `trained` that `models/local.py` serves and methods train on, beside
    those of the tokenizer `served` by its `apply_chat_template`. A prompt that the dialect itself refuses is
    left out.
    """
    differing: list[int] = []
    compared = 0
    for number, prompt in enumerate(prompts):
        try:
            text = trained.dialect.render(prompt)
        except CallgrainError:
            continue
        compared += 1
        ids = prompt_ids(trained.tokenizer, text, templated=trained.dialect_id == "chat_template")
        if _served(served, prompt) != ids:
            differing.append(number)
    return compared, differing


def _served(tokenizer: Any, prompt: Prompt) -> list[int] | None:
    """What a server makes of the prompt; None where the template refuses it."""
    try:
        return templated_ids(tokenizer, prompt)
    except Exception:  # a template from elsewhere: it can raise anything
        return None

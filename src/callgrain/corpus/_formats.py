"""Rows as other trainers read them: one pure function a format.

Tool schemas and arguments travel as JSON strings where a columnar reader would
otherwise merge the null parameters of every other tool into each schema.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from callgrain.core.canonical import dumps
from callgrain.core.types import Call, Message, Result, Sample, Tool

Row = dict[str, Any]


def callgrain(sample: Sample) -> Row:
    """Our own row: prompt and target as JSON strings, with traits and origin."""
    return {
        "subtask": sample.subtask,
        "prompt": _text(sample.prompt.model_dump(mode="json", exclude_defaults=True)),
        "target": _text(sample.answer.message.model_dump(mode="json", exclude_defaults=True)),
        "traits": sample.traits,
        "origin": sample.origin.model_dump(mode="json"),
    }


def openai(sample: Sample) -> Row:
    """OpenAI fine-tuning: `messages` with `tool_calls`, `tools` as objects."""
    row: Row = {"messages": chat(sample)}
    if sample.prompt.tools:
        row |= {"tools": [function(t) for t in sample.prompt.tools], "parallel_tool_calls": True}
    return row


def trl(sample: Sample) -> Row:
    """TRL conversational prompt-completion: the loss falls on the completion alone."""
    messages = chat(sample, objects=True)
    return {
        "prompt": messages[:-1],
        "completion": messages[-1:],
        "tools": _text([function(t) for t in sample.prompt.tools]),
    }


def axolotl(sample: Sample) -> Row:
    """Axolotl `chat_template` datasets: `messages`, and `tools` as a JSON string."""
    return {"messages": chat(sample), "tools": _text([function(t) for t in sample.prompt.tools])}


def ms_swift(sample: Sample) -> Row:
    """ms-swift agent rows: roles `tool_call` and `tool_response`, `tools` as a JSON string."""
    out: list[dict[str, str]] = []
    for message in _turns(sample):
        if message.calls:
            out += [{"role": "tool_call", "content": _named(call)} for call in message.calls]
        elif message.results:
            out += [{"role": "tool_response", "content": _result(result)} for result in message.results]
        else:
            out.append({"role": message.role, "content": message.text})
    return {"messages": out, "tools": _text([function(t) for t in sample.prompt.tools])}


def llamafactory(sample: Sample) -> Row:
    """LLaMA-Factory ShareGPT rows: `human`, `gpt`, `function_call`, `observation`, `system`, `tools`."""
    turns: list[dict[str, str]] = []
    system = ""
    for message in _turns(sample):
        if message.role == "system":
            system = message.text
        elif message.calls:
            calls = [{"name": c.name, "arguments": c.arguments} for c in message.calls]
            turns.append({"from": "function_call", "value": _text(calls[0] if len(calls) == 1 else calls)})
        elif message.results:
            turns.append({"from": "observation", "value": "\n".join(_result(r) for r in message.results)})
        else:
            turns.append({"from": "human" if message.role == "user" else "gpt", "value": message.text})
    tools = [function(t)["function"] for t in sample.prompt.tools]
    return {"conversations": turns, "system": system, "tools": _text(tools)}


FORMATS: dict[str, Callable[[Sample], Row]] = {
    "callgrain": callgrain,
    "trl": trl,
    "llamafactory": llamafactory,
    "ms-swift": ms_swift,
    "axolotl": axolotl,
    "openai": openai,
}


def chat(sample: Sample, *, objects: bool = False) -> list[dict[str, Any]]:
    """The conversation and its target as OpenAI chat messages; arguments as strings unless `objects`."""
    out: list[dict[str, Any]] = []
    ids: list[str] = []
    for message in _turns(sample):
        if message.calls:
            ids = [c.label or f"call_{len(out)}_{i}" for i, c in enumerate(message.calls)]
            calls = [_tool_call(c, i, objects) for c, i in zip(message.calls, ids, strict=True)]
            out.append({"role": "assistant", "content": message.text, "tool_calls": calls})
        elif message.results:
            for index, result in enumerate(message.results):
                out.append({"role": "tool", "tool_call_id": ids[index] if index < len(ids) else "call_0"})
                out[-1] |= {"name": result.name, "content": _result(result)}
        else:
            out.append({"role": message.role, "content": message.text})
    return out


def _turns(sample: Sample) -> tuple[Message, ...]:
    return (*sample.prompt.messages, sample.answer.message)


def function(tool: Tool) -> dict[str, Any]:
    """A tool as OpenAI's `tools` parameter has it."""
    parameters = tool.parameters or {"type": "object", "properties": {}}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


def _tool_call(call: Call, name: str, objects: bool) -> dict[str, Any]:
    arguments = call.arguments if objects else _text(call.arguments)
    return {"id": name, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _named(call: Call) -> str:
    return _text({"name": call.name, "arguments": call.arguments})


def _result(result: Result) -> str:
    return (
        result.value if isinstance(result.value, str) else _text(result.value if result.error is None else result.error)
    )


def _text(value: Any) -> str:
    return dumps(value).decode()

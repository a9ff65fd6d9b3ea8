"""Calls, tools and replies in few words, for the tests of the verifier."""

from callgrain.core.types import Answer, Call, Message, Reply, Tool
from callgrain.verify.verdict import judge_calls


def tool(name: str, required: tuple[str, ...] = (), **properties: object) -> Tool:
    return Tool(name=name, parameters={"type": "object", "properties": properties, "required": list(required)})


def reply(*calls: Call, text: str = "") -> Reply:
    return Reply(message=Message(calls=calls, text=text))


def call(name: str, label: str | None = None, /, **arguments: object) -> Call:
    return Call(name=name, label=label, arguments=arguments)


def nested(depth: int) -> object:
    """1 in so many lists."""
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


F = tool("f", x={}, y={}, z={})
G = tool("g", p={}, q={})
H = tool("h", p={}, q={}, r={"type": "array"})
TOOLS = (F, G, H)


def kinds(answer: Answer, *calls: Call, tools: tuple[Tool, ...] = TOOLS) -> list[str]:
    return [f.kind for f in judge_calls(answer, tools, reply(*calls)).faults]

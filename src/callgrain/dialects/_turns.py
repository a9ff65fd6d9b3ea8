"""What text dialects share: marks around turns, and thoughts before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from callgrain.core.types import Message, Prompt
from callgrain.dialects._chat import result_text

OPEN_THOUGHT, CLOSE_THOUGHT = "<think>", "</think>"


def split_turns(prompt: Prompt, write: Callable[[Message], str]) -> tuple[str, list[tuple[str, str]]]:
    """The opening system text, and the other turns as (role, text); `write` spells the assistant's."""
    messages = list(prompt.messages)
    head = messages.pop(0).text if messages and messages[0].role == "system" else ""
    out: list[tuple[str, str]] = []
    for message in messages:
        if message.role == "assistant":
            out.append(("assistant", write(message)))
        elif message.results:
            out.append(("tool", "\n".join(result_text(r) for r in message.results)))
        else:
            out.append((message.role, message.text))
    return head, out


def join_turns(turns: Sequence[tuple[str, str]], end: str) -> str:
    """The turns between role marks, open for the assistant's next one."""
    parts = [f"<|{role}|>\n{text}{end if role == 'assistant' else ''}\n" for role, text in turns]
    return "".join([*parts, "<|assistant|>\n"])


def with_thought(thought: str, body: str) -> str:
    """The body with its thought before it; a body that itself opens with the mark gets an empty one."""
    if not thought and not body.lstrip().startswith(OPEN_THOUGHT):
        return body
    return f"{OPEN_THOUGHT}{_escape(thought)}{CLOSE_THOUGHT}\n{body}"


def cut_thought(text: str) -> tuple[str, str]:
    """(thought, rest) of a turn."""
    opened = text.lstrip()
    if not opened.startswith(OPEN_THOUGHT):
        return "", text
    thought, closed, rest = opened[len(OPEN_THOUGHT) :].partition(CLOSE_THOUGHT)
    return (unescape_thought(thought), rest) if closed else ("", text)


def _escape(thought: str) -> str:
    return thought.replace("\\", "\\\\").replace("</", "<\\/")


def unescape_thought(thought: str) -> str:
    """A thought without the escapes that kept it from ending early."""
    return thought.replace("<\\/", "</").replace("\\\\", "\\")

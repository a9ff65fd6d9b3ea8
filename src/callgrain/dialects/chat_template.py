"""The model's own chat template, rendered with its `tools=`.

Models are trained on one spelling of tools and calls, and it stands in their template; any
other spelling measures how well they adapt instead of how well they call. Where a template
has no place for tools, the tools are put in by the `json` dialect's instructions. Without
a tokenizer this is the Hermes spelling, which most templates share.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

from callgrain.core import plugins
from callgrain.core.errors import BrokenModel, CallgrainError
from callgrain.core.protocols import Dialect, Stream
from callgrain.core.types import Call, Fault, Message, Prompt, Tool
from callgrain.dialects._calls import OPENING, OPENINGS, looks_bare, read_calls, read_marked
from callgrain.dialects._chat import as_chat, as_function, result_text, text_of
from callgrain.dialects._grammar import Grammar
from callgrain.dialects._grammar_marks import Spelling, mark_grammar, spelling_of
from callgrain.dialects._list_stream import ListStream
from callgrain.dialects._mark_stream import MarkStream
from callgrain.dialects._recover import hidden, meant, named
from callgrain.dialects._stream import Buffered
from callgrain.dialects._turns import CLOSE_THOUGHT, OPEN_THOUGHT
from callgrain.dialects.json import read_item, read_turn, sets_out

_CHATML_END = "<|im_end|>"
_MARKS = ["think>", *(mark[1:] for mark in OPENINGS)]
_PLAIN_MARK = re.compile(r"([<\[])(\\*/?(?:" + "|".join(map(re.escape, _MARKS)) + "))")
_ESCAPED_MARK = re.compile(r"([<\[])\\(\\*/?(?:" + "|".join(map(re.escape, _MARKS)) + "))")
_SAMPLE_TOOL = Tool(name="callgrain_sample_tool", description="a tool", parameters={"type": "object", "properties": {}})
_INSTRUCTIONS = (
    "You may call one or more functions to assist with the user query. The functions are:\n<tools>\n{tools}\n</tools>\n"
    "For each call write, within <tool_call></tool_call>, a JSON object with the function's name and its arguments:\n"
    '<tool_call>\n{{"name": <name>, "arguments": <object>}}\n</tool_call>'
)


class ChatTemplate:
    """Prompts and turns as the tokenizer's chat template spells them.

    `tokenizer` is any transformers tokenizer with a chat template. `takes_tools` says whether
    the template has a place for tools; if not, the `json` dialect speaks through it.
    `may_be_thinking` says that a turn may begin inside a thought that the prompt has opened. Raises
    BrokenModel where the tokenizer has no template, or one that cannot be rendered at all.
    """

    def __init__(self, tokenizer: Any = None) -> None:
        self.end = _CHATML_END
        self.takes_tools = True
        self.may_be_thinking = True
        self._tokenizer = tokenizer
        self._takes_system = True
        self._spoken: Dialect | None = None
        if tokenizer is not None:
            self._bind()

    def turns(self, prompt: Prompt) -> list[tuple[str, str]]:
        """The conversation as (role, text), the tools in the system turn."""
        if self._spoken is not None:
            return self._spoken.turns(prompt)
        tools = "\n".join(text_of(as_function(tool)) for tool in prompt.tools)
        system = [_INSTRUCTIONS.format(tools=tools)] if prompt.tools else []
        out: list[tuple[str, str]] = []
        for message in prompt.messages:
            if message.role == "system" and not out:
                system.insert(0, message.text)
            elif message.role == "assistant":
                out.append(("assistant", self._hermes(message)))
            elif message.results:
                blocks = (f"<tool_response>\n{result_text(r)}\n</tool_response>" for r in message.results)
                out.append(("tool", "\n".join(blocks)))
            else:
                out.append((message.role, message.text))
        return [("system", "\n\n".join(system)), *out] if system else out

    def render(self, prompt: Prompt) -> str:
        """The prompt as the template spells it, open for the assistant's turn.

        Raises CallgrainError where the template refuses the conversation.
        """
        if self._tokenizer is None:
            turns = "".join(f"<|im_start|>{role}\n{text}{_CHATML_END}\n" for role, text in self.turns(prompt))
            return f"{turns}<|im_start|>assistant\n"
        if self._spoken is not None:
            return self._apply(self._rolled(self._spoken.turns(prompt)))
        tools = [as_function(tool) for tool in prompt.tools] or None
        try:
            return self._apply(self._fitted(as_chat(prompt.messages)), tools)
        except CallgrainError:
            # Mistral's templates take ids of nine letters and digits only.
            return self._apply(self._fitted(as_chat(prompt.messages, named=lambda n, _: f"call{n:05d}")), tools)

    def write(self, message: Message) -> str:
        """An assistant turn in the template's own spelling where that reads back as the same turn.

        Labels have no place in most templates, nor have marks of calls inside text: such a
        turn is written in the Hermes spelling, with the label as `"id"`.
        """
        if self._spoken is not None:
            return self._spoken.write(message)
        if self._tokenizer is not None:
            text = self._templated(message)
            if text is not None and self.parse(text) == message:
                return text
        return self._hermes(message)

    def parse(self, text: str) -> Message | Fault:
        """The turn that `text` spells: thought, text and calls in any of the common formats."""
        if self._spoken is None:
            return self._read(text)
        spoken = self._spoken.parse(text)
        if isinstance(spoken, Message) and (spoken.calls or not OPENING.search(text)):
            return spoken
        # Told to write JSON, a model may still fall back on the marks that it was trained on.
        own = self._read(text) if not sets_out(text.strip()) else spoken
        return own if isinstance(own, Message) and own.calls else spoken

    def grammar(self, tools: Sequence[Tool], *, spaced: bool = False, special: frozenset[str] = frozenset()) -> Grammar:
        """Turns over `tools` in the template's own spelling or Hermes'; see `core.protocols.Dialect`."""
        if self._spoken is not None:
            return cast("Any", self._spoken).grammar(tools, spaced=spaced, special=special)
        return mark_grammar(tools, self._spelling, special=special, may_be_thinking=self.may_be_thinking)

    @cached_property
    def _spelling(self) -> Spelling | None:
        return spelling_of(self.write)

    def recover(self, text: str) -> Message | None:
        """The turn that a text which cannot be read probably means, or None."""
        thought, body = self._split_thought(text.encode(errors="replace").decode())
        calls = meant(body.strip(), "marks" if self._spoken is None else "list").calls
        return Message(thought=_unescape(thought), calls=calls) if calls else None

    def stream(self) -> Stream:
        """A turn piece by piece; each call comes as soon as it closes.

        Where the prompt may have left a thought open, nothing is certain before the thought's end;
        where the `json` dialect speaks through the template, text waits for the end.
        """
        if type(self).parse is not ChatTemplate.parse:
            return Buffered(self.parse)
        if self._spoken is not None:
            return ListStream(self.parse, read_item, read_turn, speaks=False)
        return MarkStream(self.parse, _unescape, may_be_thinking=self.may_be_thinking)

    def _read(self, text: str) -> Message | Fault:
        text = text.encode(errors="replace").decode()
        thought, text = self._split_thought(text)
        is_escaped = text.startswith("\\") and not _is_plain(OPENING.split(text, 1)[0].lstrip("\\"))
        found = read_marked(text[1:]) if is_escaped else read_calls(text)
        if isinstance(found, Fault):
            return named(found, meant(text.strip(), "marks"))
        said, calls = found
        if not calls and not is_escaped and (near := hidden(text.strip(), "marks")):
            return near
        return Message(text=_unescape(said), thought=_unescape(thought), calls=tuple(calls))

    def _split_thought(self, text: str) -> tuple[str, str]:
        """(thought, rest); the opening mark may have been part of the prompt."""
        body = text.lstrip()
        if not body.startswith(OPEN_THOUGHT) and not (self.may_be_thinking and CLOSE_THOUGHT in body):
            return "", text
        thought, closed, rest = body.removeprefix(OPEN_THOUGHT).partition(CLOSE_THOUGHT)
        if not closed:
            return thought.strip(), ""
        thought = thought.removeprefix("\n").removesuffix("\n")
        return thought, rest.removeprefix("\n").removeprefix("\n")

    def _hermes(self, message: Message) -> str:
        text = _escape(message.text)
        if not _is_plain(text.lstrip("\\")):
            text = "\\" + text
        blocks = [f"<tool_call>\n{_hermes_call(call)}\n</tool_call>" for call in message.calls]
        thought = f"<think>\n{_escape(message.thought)}\n</think>\n\n" if message.thought else ""
        return thought + "\n".join([text, *blocks] if text else blocks)

    def _bind(self) -> None:
        """Find out what the template can do by rendering it. Raises BrokenModel."""
        if not getattr(self._tokenizer, "chat_template", None):
            raise BrokenModel("the tokenizer has no chat template", "pass --dialect json (or compact)")
        user = [{"role": "user", "content": "hello"}]
        try:
            plain = self._apply(user)
        except CallgrainError as error:
            raise BrokenModel(error.what, "mend the template, or pass --dialect json (or compact)") from error
        self._takes_system = self._renders([{"role": "system", "content": "callgrain"}, *user], "callgrain")
        self.end = self._found_end() or self._tokenizer.eos_token or _CHATML_END
        # Where the prompt itself opens the thought, a turn begins inside it; without a tokenizer nobody knows.
        self.may_be_thinking = plain.rstrip().endswith(OPEN_THOUGHT)
        try:
            self.takes_tools = self._apply(user, [as_function(_SAMPLE_TOOL)]) != plain
        except CallgrainError:
            self.takes_tools = False
        if not self.takes_tools:
            self._spoken = plugins.load("dialects", "json")()

    def _renders(self, chat: list[dict[str, Any]], wanted: str) -> bool:
        try:
            return wanted in self._apply(chat)
        except CallgrainError:
            return False

    def _found_end(self) -> str:
        """What the template writes after an assistant's text."""
        chat = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "callgrain"}]
        try:
            return self._apply(chat, opened=False).rpartition("callgrain")[2].strip()
        except CallgrainError:
            return ""

    def _apply(
        self, chat: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None, *, opened: bool = True
    ) -> str:
        try:
            text: Any = self._tokenizer.apply_chat_template(
                chat, tools=tools, add_generation_prompt=opened, tokenize=False
            )
        except Exception as error:  # a template is a program from elsewhere: it can raise anything
            raise CallgrainError(f"the chat template refuses the conversation: {str(error)[:200]}") from error
        return str(text)

    def _fitted(self, chat: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """System turns moved into the first user turn, for templates without a place for them."""
        if self._takes_system or not any(turn["role"] == "system" for turn in chat):
            return chat
        said = "\n\n".join(turn["content"] for turn in chat if turn["role"] == "system")
        rest = [dict(turn) for turn in chat if turn["role"] != "system"]
        if not rest or rest[0]["role"] != "user":
            return [{"role": "user", "content": said}, *rest]
        rest[0]["content"] = f"{said}\n\n{rest[0]['content']}"
        return rest

    def _rolled(self, turns: list[tuple[str, str]]) -> list[dict[str, Any]]:
        """Plain turns as chat messages in which user and assistant take turns: templates insist on that."""
        chat: list[dict[str, Any]] = []
        for given, text in turns:
            role = "user" if given == "tool" else given
            if chat and role == chat[-1]["role"]:
                chat[-1]["content"] += f"\n\n{text}"
            else:
                chat.append({"role": role, "content": text})
        return self._fitted(chat)

    def _templated(self, message: Message) -> str | None:
        """What the template adds for `message` after its opening of the turn; None where it cannot."""
        before: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
        try:
            opening = self._apply(before)
            whole = self._apply(before + as_chat([message]), opened=False)
        except CallgrainError:
            return None
        if not whole.startswith(opening):
            return None
        return whole[len(opening) :].rstrip().removesuffix(self.end)


def _hermes_call(call: Call) -> str:
    said: dict[str, Any] = {"name": call.name, "arguments": call.arguments}
    if call.label is not None:
        said["id"] = call.label
    # Only inside a string can "</" stand in JSON: a closing mark there must not close the call.
    return text_of(said).replace("</", "<\\/")


def _is_plain(text: str) -> bool:
    """Whether a text without marks stands for itself: it neither is calls nor nearly is."""
    return not looks_bare(text) and hidden(text.strip(), "marks") is None


def _escape(text: str) -> str:
    return _PLAIN_MARK.sub(r"\1\\\2", text)


def _unescape(text: str) -> str:
    return _ESCAPED_MARK.sub(r"\1\2", text)


plugin = ChatTemplate

"""The remote back end against a real HTTP server that misbehaves in every usual way."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from callgrain.core import plugins
from callgrain.core.errors import BadInput, BrokenModel, UnknownName
from callgrain.core.types import Call, Message, Prompt, Result, Sampling, Tool
from callgrain.models import _wire
from callgrain.models.remote import Remote, retry_after_s

KEY = "sk-very-secret-0123456789"
TOOL = Tool(name="weather.get", parameters={"type": "object", "properties": {"city": {"type": "string"}}})
TOOL = TOOL.model_copy(update={"returns": {"type": "number"}})


class Endpoint(ThreadingHTTPServer):
    """Answers by the word in the last message: `behaviours[word](handler, body)`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.seen: dict[str, int] = {}
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.running = self.most = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        word = body["messages"][-1]["content"].split()[0]
        server = self.server
        with server.lock:
            server.bodies.append(body)
            server.keys.append(self.headers.get("Authorization", ""))
            server.seen[word] = nth = server.seen.get(word, 0) + 1
            server.running += 1
            server.most = max(server.most, server.running)
        try:
            BEHAVIOURS[word](self, body, nth)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with server.lock:
                server.running -= 1

    def send(self, status: int, content: Any, kind: str = "application/json", **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        with self.server.lock:  # before the client can see the answer, so that the count is of requests under way
            self.server.running -= 1
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(data)
        finally:
            with self.server.lock:
                self.server.running += 1

    def log_message(self, *args: Any) -> None:
        pass


def completion(content: str | None = None, finish: str = "stop", **message: Any) -> dict[str, Any]:
    turn = {"role": "assistant", "content": content, **message}
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "details": {"cached": 0}}
    return {"choices": [{"index": 0, "message": turn, "finish_reason": finish}], "usage": usage}


def call(arguments: Any, name: str = "weather_get") -> dict[str, Any]:
    return {"tool_calls": [{"id": "a", "type": "function", "function": {"name": name, "arguments": arguments}}]}


GOOD = completion(**call('{"city": "Graz"}'))


def native(handler: Handler, body: dict[str, Any], nth: int) -> None:
    assert body["tools"][0]["function"]["name"] == "weather_get"
    handler.send(200, GOOD)


def always(status: int, content: Any, kind: str = "application/json") -> Callable[..., None]:
    return lambda handler, body, nth: handler.send(status, content, kind)


def busy(handler: Handler, body: dict[str, Any], nth: int) -> None:
    handler.send(429, {"error": {"message": "slow down"}}, Retry_After="0.3") if nth == 1 else handler.send(200, GOOD)


def flaky(handler: Handler, body: dict[str, Any], nth: int) -> None:
    handler.send(500, b"oops", "text/plain") if nth <= 2 else handler.send(200, GOOD)


def dripping(handler: Handler, body: dict[str, Any], nth: int) -> None:
    """A byte now and then: no single read ever times out."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(40):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def slow(handler: Handler, body: dict[str, Any], nth: int) -> None:
    number = int(body["messages"][-1]["content"].split()[1])
    time.sleep(0.02 * (5 - number % 5))
    handler.send(200, completion(f"reply {number}"))


def cut_short(handler: Handler, body: dict[str, Any], nth: int) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


BEHAVIOURS: dict[str, Callable[[Handler, dict[str, Any], int], None]] = {
    "native": native,
    "text": always(200, completion("It is mild.", reasoning_content="hm")),
    "parts": always(200, completion() | {"choices": [{"message": {"content": [{"type": "text", "text": "mild"}]}}]}),
    "busy": busy,
    "flaky": flaky,
    "down": always(503, b"", "text/plain"),
    "dripping": dripping,
    "slow": slow,
    "cut": cut_short,
    "html": always(200, b"<html><body>Welcome</body></html>", "text/html"),
    "image": always(200, b"GIF89a", "image/gif"),
    "notjson": always(200, b'{"choices": [', "application/json"),
    "list": always(200, [1, 2]),
    "deep": always(200, b"[" * 100_000),
    "nochoices": always(200, {"choices": []}),
    "nullchoice": always(200, {"choices": [None]}),
    "error200": always(200, {"error": {"message": "overloaded"}}),
    "badcall": always(200, completion(**call('{"city": "Gr'))),
    "cutcall": always(200, completion(finish="length", **call('{"city": "Gr'))),
    "listcall": always(200, completion(**call("[1]"))),
    "namelesscall": always(200, completion(tool_calls=[{"function": {"arguments": "{}"}}])),
    "surrogate": always(200, b'{"choices": [{"message": {"content": "a\\ud800b"}}]}'),
    "badrequest": always(400, {"error": {"message": f"key {KEY} may not do that"}}),
    "denied": always(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}),
    "lost": always(404, {"error": {"message": "no such model"}}),
    "moved": always(302, b""),
    "huge": always(200, b" " * (17 * 1024 * 1024)),
    "json": always(200, completion('{"name": "no')),
    "logprobs": always(
        200,
        {"choices": [{"message": {"content": "ab"}, "logprobs": {"content": [{"token": "ab", "logprob": -0.5}]}}]},
    ),
}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("TEST_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def ask(text: str, **sampling: Any) -> Prompt:
    return Prompt(messages=(Message(role="user", text=text),), tools=(TOOL,), sampling=Sampling(**sampling))


def model(endpoint: Endpoint, **options: Any) -> Remote:
    settings = {"key_env": "TEST_KEY", "timeout_s": 5.0, "retries": 2, "longest_wait_s": 0.5} | options
    return Remote(f"m@{endpoint.url}", **settings)


def test_native_calls_come_back_under_their_own_names(endpoint: Endpoint) -> None:
    reply = model(endpoint).answer([ask("native", temperature=0.5, top_p=0.9, max_tokens=17, seed=4)])[0]
    assert reply.message == Message(calls=(Call(name="weather.get", arguments={"city": "Graz"}, label="a"),))
    assert reply.usage == {"prompt_tokens": 5, "completion_tokens": 3}
    assert endpoint.keys == [f"Bearer {KEY}"]
    sent = endpoint.bodies[0]
    assert {k: sent[k] for k in ("model", "temperature", "top_p", "max_tokens", "seed")} == {
        "model": "m", "temperature": 0.5, "top_p": 0.9, "max_tokens": 17, "seed": 4,
    }  # fmt: skip
    assert 'Returns: {"type": "number"}' in sent["tools"][0]["function"]["description"]


def test_the_conversation_on_the_wire() -> None:
    made = Call(name="weather.get", arguments={"city": "Graz"}, label="a")
    turns = (
        Message(role="system", text="Be brief."),
        Message(role="user", text="Graz and Linz?"),
        Message(text="I look.", thought="hm", calls=(made, Call(name="weather.get", arguments={"city": "Linz"}))),
        Message(role="tool", results=(Result(label="a", name="weather.get", value=7), Result(error="no such city"))),
    )
    sent = _wire.native_body(Prompt(messages=turns, tools=(TOOL,)))["messages"]
    assert [m["role"] for m in sent] == ["system", "user", "assistant", "tool", "tool"]
    assert [c["id"] for c in sent[2]["tool_calls"]] == ["a", "call_1"]
    assert sent[2]["tool_calls"][0]["function"] == {"name": "weather_get", "arguments": '{"city": "Graz"}'}
    assert sent[3] == {"role": "tool", "tool_call_id": "a", "name": "weather_get", "content": "7"}
    assert sent[4] == {"role": "tool", "tool_call_id": "call_1", "content": '{"error": "no such city"}'}
    assert "reasoning_content" not in sent[2]


def test_wire_names_are_valid_and_apart() -> None:
    names = ["a.b", "a_b", "a b", "x" * 80, "x" * 81, "", "gut.ä"]
    spelt = _wire.wire_names(names)
    assert spelt["a_b"] == "a_b"
    assert len(set(spelt.values())) == len(names)
    assert all(0 < len(s) <= 64 and s.replace("-", "_").replace("_", "a").isalnum() for s in spelt.values())


def test_text_parts_thought_and_surrogates(endpoint: Endpoint) -> None:
    replies = model(endpoint).answer([ask(word) for word in ("text", "parts", "surrogate")])
    assert replies[0].message == Message(text="It is mild.", thought="hm")
    assert replies[1].message == Message(text="mild")
    assert replies[2].text == "a?b"
    assert replies[2].model_dump_json()


def test_logprobs_are_asked_for_and_kept(endpoint: Endpoint) -> None:
    reply = model(endpoint, logprobs=True).answer([ask("logprobs")])[0]
    assert (reply.tokens, reply.logprobs) == (("ab",), (-0.5,))
    assert endpoint.bodies[0]["logprobs"] is True
    model(endpoint, limit_name="max_completion_tokens").answer([ask("text")])
    assert "max_completion_tokens" in endpoint.bodies[1]
    assert "max_tokens" not in endpoint.bodies[1]


@pytest.mark.parametrize(
    ("word", "kind"),
    [("badcall", "unparsable"), ("cutcall", "truncated"), ("listcall", "wrong_shape"), ("namelesscall", "wrong_shape")],
)
def test_a_models_broken_call_is_a_fault(endpoint: Endpoint, word: str, kind: str) -> None:
    reply = model(endpoint).answer([ask(word)])[0]
    assert reply.fault is not None
    assert reply.fault.kind == kind


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("html", "HTML"),
        ("image", "image/gif"),
        ("notjson", "no JSON"),
        ("list", "no JSON object"),
        ("deep", "no JSON"),
        ("nochoices", "no choices"),
        ("nullchoice", "no choices"),
        ("error200", "overloaded"),
        ("badrequest", "HTTP 400"),
        ("denied", "HTTP 401"),
        ("lost", "HTTP 404"),
        ("moved", "HTTP 302"),
        ("huge", "16 MiB"),
        ("down", "HTTP 503"),
        ("cut", "connection broke"),
        ("dripping", "timeout after 0.6 s after 2 attempts"),
    ],
)
def test_one_items_failure_is_recorded_and_the_rest_goes_on(endpoint: Endpoint, word: str, reason: str) -> None:
    asked = [ask("native"), ask(word), ask("native")]
    replies = model(endpoint, timeout_s=0.6, retries=1, longest_wait_s=0.05).answer(asked)
    assert replies[0].message == replies[2].message
    assert replies[0].message is not None
    assert reason in (replies[1].failure or "")
    assert not any(KEY in reply.model_dump_json() for reply in replies)


def test_retry_after_is_honoured_and_failures_pass(endpoint: Endpoint) -> None:
    start = time.monotonic()
    replies = model(endpoint).answer([ask("busy")])
    assert time.monotonic() - start >= 0.3
    replies += model(endpoint, longest_wait_s=0.05).answer([ask("flaky")])
    assert all(reply.message and reply.message.calls for reply in replies)
    assert endpoint.seen == {"busy": 2, "flaky": 3}


def test_retry_after_in_seconds_and_as_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after_s("7", now.timestamp()) == 7
    assert retry_after_s(format_datetime(now + timedelta(seconds=90), usegmt=True), now.timestamp()) == 90
    assert retry_after_s(format_datetime(now - timedelta(seconds=90), usegmt=True), now.timestamp()) == 0
    assert [retry_after_s(value, 0.0) for value in (None, "", "soon", "inf", "nan")] == [None] * 5


def test_order_is_kept_and_concurrency_bounded(endpoint: Endpoint) -> None:
    replies = model(endpoint, concurrency=4).answer([ask(f"slow {number}") for number in range(24)])
    assert [reply.text for reply in replies] == [f"reply {number}" for number in range(24)]
    assert 2 <= endpoint.most <= 4


def test_a_dialect_in_plain_text(endpoint: Endpoint) -> None:
    if "json" not in plugins.names("dialects"):
        pytest.skip("the json dialect is not there")
    replies = model(endpoint, dialect="json").answer([ask("text"), ask("json")])
    assert replies[0].text == "It is mild."
    assert replies[1].text == '{"name": "no'
    assert "tools" not in endpoint.bodies[0]
    assert any("weather.get" in m["content"] for m in endpoint.bodies[0]["messages"])
    assert {m["role"] for body in endpoint.bodies for m in body["messages"]} <= {"system", "user", "assistant"}


@pytest.mark.parametrize(("word", "reason"), [("denied", "401"), ("lost", "404")])
def test_an_endpoint_that_refuses_us_stops_at_the_first_request(endpoint: Endpoint, word: str, reason: str) -> None:
    with pytest.raises(BrokenModel, match=reason) as caught:
        model(endpoint).answer([ask(word)] * 50)
    assert endpoint.seen[word] == 1
    assert "TEST_KEY is set" in caught.value.remedy
    assert KEY not in str(caught.value)


def test_a_refused_connection_is_a_broken_set_up() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
        with pytest.raises(BrokenModel, match="no connection") as caught:
            Remote(f"m@{url}", key_env="NO_SUCH_KEY").answer([ask("native")])
    assert "NO_SUCH_KEY is not set" in caught.value.remedy


def test_an_endpoint_that_never_answers_anything_is_broken(endpoint: Endpoint) -> None:
    with pytest.raises(BrokenModel, match="HTML"):
        model(endpoint).answer([ask("html")] * 3)


def test_an_endpoint_that_goes_away_stops_the_run_and_is_not_asked_for_ever(endpoint: Endpoint) -> None:
    asked = model(endpoint, concurrency=2, retries=0)
    assert asked.answer([ask("native")])[0].message
    with pytest.raises(BrokenModel, match="401"):
        asked.answer([ask("denied")] * 200)
    assert endpoint.seen["denied"] < 10
    replies = asked.answer([ask("native"), *[ask("denied")] * 50])
    assert replies[0].message
    assert "not asked" in (replies[-1].failure or "")


def test_it_works_within_a_running_event_loop(endpoint: Endpoint) -> None:
    async def notebook() -> Any:
        return model(endpoint).answer([ask("native")])

    assert asyncio.run(notebook())[0].message


def test_bad_addresses_and_options() -> None:
    for rest in ("m", "@http://h", "m@ftp://h", "m@http://"):
        with pytest.raises(BadInput, match="remote:NAME@URL"):
            Remote(rest)
    with pytest.raises(UnknownName, match="timeout_s"):
        Remote("m@http://127.0.0.1:1/v1", timeouts=3)
    with pytest.raises(BadInput, match="concurrency"):
        Remote("m@http://127.0.0.1:1/v1", concurrency=0)
    assert Remote("a@b@http://user:pw@h:1/v1/").name == "remote:a@b@http://h:1/v1"

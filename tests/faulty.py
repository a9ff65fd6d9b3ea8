"""A fake OpenAI endpoint over real HTTP that misbehaves in every usual way, and keeps books of its own.

What a request meets is drawn from the request's hash and from how often that request has come, so that two runs of
one seed meet the same. What the *model* says, well or badly, hangs on the hash alone: a request that is sent again
after a kill is answered as it was the first time. A text that begins with `fault=NAME` (`fault=NAME*2`: the first
two times it comes) asks for one behaviour. Every answer that can repeats the key that it was sent.

    python tests/faulty.py [--rate 0.3] [--seed 0] [--latency 0.002]

serves in a process of its own: the first line is the address, GET /books the books, and it ends with its stdin.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from random import Random
from typing import Any

PRICE_IN, PRICE_OUT = 0.15, 0.60
"""What a million tokens of prompt and of completion cost."""

HUGE = 100 * 2**20
PIECE = b" " * 65536
DRIP_S = 0.02
FORCED = re.compile(r"fault=([a-z0-9_]+)(?:\*(\d+))?")


@dataclass(frozen=True)
class Plan:
    """How the endpoint behaves: `rate` of first attempts meet a fault, each answer takes `latency_s`."""

    rate: float = 0.0
    seed: int = 0
    latency_s: float = 0.0
    retry_after_s: float = 0.05

    def behaviour(self, text: str, digest: str, attempt: int) -> str:
        """What this request meets at its `attempt` (from 1)."""
        if found := FORCED.match(text):
            return found[1] if not found[2] or attempt <= int(found[2]) else "good"
        wire = self.rate * len(WIRE) / (len(WIRE) + len(SAID))
        rng = Random(f"{self.seed}:{digest}:{attempt}")
        if rng.random() < wire:
            return rng.choice(tuple(WIRE))
        own = Random(f"{self.seed}:{digest}")
        return own.choice(tuple(SAID)) if own.random() < (self.rate - wire) / (1 - wire) else "good"


@dataclass
class Books:
    """What the server counted. `repeats` are requests whose answer had been given whole before."""

    requests: int = 0
    priced: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    repeats: int = 0
    running: int = 0
    most: int = 0
    while_down: int = 0
    first_ill: int = 0
    attempts: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    answered: set[str] = field(default_factory=set)
    moments: list[tuple[str, float]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    @property
    def money(self) -> float:
        return (self.prompt_tokens * PRICE_IN + self.completion_tokens * PRICE_OUT) / 1e6

    def shown(self) -> dict[str, Any]:
        names = ("requests", "priced", "prompt_tokens", "completion_tokens", "repeats", "first_ill")
        plain = {name: getattr(self, name) for name in names}
        more = {"money": self.money, "most": self.most, "answered": len(self.answered), "met": dict(self.met)}
        more["keys"] = sorted(self.keys)
        return {**plain, **more, "most_attempts": max(self.attempts.values(), default=0), "items": len(self.attempts)}


@dataclass
class Exchange:
    """One request and the way back."""

    server: Faulty
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    body: dict[str, Any]
    digest: str
    key: str
    attempt: int

    @property
    def usage(self) -> dict[str, int]:
        return {"prompt_tokens": 20 + int(self.digest[:2], 16), "completion_tokens": 5 + int(self.digest[2:4], 16) % 60}

    @property
    def tool(self) -> str:
        tools = self.body.get("tools") or [{"function": {"name": "f"}}]
        return tools[0]["function"]["name"]

    def head(self, status: int, kind: str, *more: str) -> bytes:
        lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"X-Key: {self.key}", *more]
        return "\r\n".join([*lines, "\r\n"]).encode()

    async def send(self, status: int, content: Any, kind: str = "application/json", *more: str) -> None:
        """A whole answer; what it says of its usage goes into the books."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        if isinstance(content, dict) and "usage" in content:
            self.server.bill(content["usage"])
        self.writer.write(self.head(status, kind, f"Content-Length: {len(data)}", *more) + data)
        await self.writer.drain()

    async def gone(self, limit_s: float = 60.0) -> None:
        """Wait until the client has hung up."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.reader.read(1), limit_s)
        raise ConnectionResetError

    def turn(self, *calls: dict[str, Any], text: str | None = None, finish: str = "stop") -> dict[str, Any]:
        message = {"role": "assistant", "content": text, **({"tool_calls": list(calls)} if calls else {})}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return {"id": self.digest, "choices": [choice], "usage": self.usage}

    def call(self, arguments: str | None = None, name: str | None = None, label: str = "a") -> dict[str, Any]:
        given = json.dumps({"n": int(self.digest[:6], 16)}) if arguments is None else arguments
        return {"id": label, "type": "function", "function": {"name": name or self.tool, "arguments": given}}


# what the endpoint does wrong -----------------------------------------------------------------


def status(code: int, *, retry_after: bool = False, usage: bool = False) -> Callable[[Exchange], Awaitable[None]]:
    async def answer(x: Exchange) -> None:
        told: dict[str, Any] = {"error": {"message": f"no: the key {x.key} (Bearer {x.key}) is busy", "code": code}}
        if usage:  # as where half an answer was made, and is charged
            told["usage"] = x.usage
        more = [f"Retry-After: {x.server.plan.retry_after_s:g}"] if retry_after else []
        await x.send(code, told, "application/json", *more)

    return answer


async def reset(x: Exchange) -> None:
    x.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    x.writer.transport.abort()
    raise ConnectionResetError


async def cut_body(x: Exchange) -> None:
    x.writer.write(x.head(200, "application/json", "Content-Length: 1000") + b'{"choices": [')
    await x.writer.drain()
    raise ConnectionResetError


async def slow_headers(x: Exchange) -> None:
    x.writer.write(b"HTTP/1.1 200 X\r\n")
    await drip(x, b"X-Slow: 1\r\n")


async def slow_body(x: Exchange) -> None:
    x.writer.write(x.head(200, "application/json", "Content-Length: 1000000"))
    await drip(x, b" ")


async def drip(x: Exchange, piece: bytes) -> None:
    """A little now and then, so that no single read ever waits long."""
    for _ in range(3000):
        x.writer.write(piece)
        await x.writer.drain()
        with suppress(TimeoutError):
            if await asyncio.wait_for(x.reader.read(1), DRIP_S) == b"":
                break
    raise ConnectionResetError


async def huge(x: Exchange) -> None:
    x.writer.write(x.head(200, "application/json", f"Content-Length: {HUGE}"))
    for _ in range(HUGE // len(PIECE)):
        x.writer.write(PIECE)
        await x.writer.drain()


async def never_ending(x: Exchange) -> None:
    x.writer.write(x.head(200, "application/json", "Transfer-Encoding: chunked"))
    while True:
        x.writer.write(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
        await x.writer.drain()


async def truncated_json(x: Exchange) -> None:
    await x.send(200, json.dumps(x.turn(text=x.key * 3)).encode()[:-40])


WIRE: dict[str, Callable[[Exchange], Awaitable[None]]] = {
    "429_retry_after": status(429, retry_after=True),
    "429": status(429),
    "500": status(500, usage=True),
    "502": lambda x: x.send(502, f"<html><body>Bad gateway for {x.key}</body></html>".encode(), "text/html"),
    "503": lambda x: x.send(503, f"try later, {x.key}".encode(), "text/plain"),
    "reset": reset,
    "cut_body": cut_body,
    "slow_headers": slow_headers,
    "slow_body": slow_body,
    "timeout": lambda x: x.gone(),
    "empty": lambda x: x.send(200, b""),
    "html": lambda x: x.send(200, f"<html><!-- {x.key} --><body>Welcome {x.key}</body></html>".encode(), "text/html"),
    "truncated_json": truncated_json,
    "wrong_type": lambda x: x.send(200, x.turn(x.call()), f"application/xml-{x.key}"),
    "error_in_200": lambda x: x.send(200, {"error": {"message": f"overloaded for {x.key}"}, "usage": x.usage}),
    "no_choices": lambda x: x.send(200, {"id": x.key, "object": "chat.completion", "usage": x.usage}),
    "huge": huge,
    "never_ending": never_ending,
}
"""Faults of the endpoint, drawn anew at each attempt."""

SAID: dict[str, Callable[[Exchange], Awaitable[None]]] = {
    "broken_arguments": lambda x: x.send(200, x.turn(x.call('{"n": 1, "key": "' + x.key))),
    "length": lambda x: x.send(200, x.turn(text=f"I begin with {x.key} and then", finish="length")),
    "unknown_tool": lambda x: x.send(200, x.turn(x.call(name="no_such_tool"))),
    "duplicate_ids": lambda x: x.send(200, x.turn(x.call(), x.call(), x.call('{"n": 2}'))),
}
"""What a model says wrongly: the endpoint is well, and the reply is one to be judged."""


async def good(x: Exchange) -> None:
    """A call, or a text; now and then with the key in every place that a reply has."""
    if int(x.digest[4:6], 16) % 4:
        return await x.send(200, x.turn(x.call()))
    said = x.turn(
        x.call(json.dumps({"n": 1, x.key: [x.key, {"a": f"<{x.key}>"}]})), text=f"{x.digest[:8]} knows {x.key}"
    )
    said["choices"][0]["message"]["reasoning_content"] = f"hm, {x.key}"
    pieces = [x.key[:5], x.key[5:9], x.key[9:]]
    said["choices"][0]["logprobs"] = {"content": [{"token": piece, "logprob": -1.0} for piece in pieces]}
    said["usage"] = {**x.usage, x.key: 1}
    return await x.send(200, said)


def skewed() -> tuple[str, str]:
    """A clock an hour ahead, and by that clock two seconds to wait."""
    now = time.time() + 3600
    return f"Date: {formatdate(now, usegmt=True)}", f"Retry-After: {formatdate(now + 2, usegmt=True)}"


def escaped(text: str) -> str:
    """`text` as JSON may spell it too."""
    return "".join(f"\\u{ord(letter):04x}" for letter in text)


async def spelt(x: Exchange) -> None:
    """The key where no single text of the body holds it: escaped within the arguments, in parts, in tokens."""
    halves = [x.key[:9], x.key[9:]]
    said = x.turn(x.call(f'{{"n": "{escaped(x.key)}"}}'), text="")
    said["choices"][0]["message"]["content"] = [{"type": "text", "text": half} for half in halves]
    said["choices"][0]["logprobs"] = {"content": [{"token": half, "logprob": -1.0} for half in halves]}
    await x.send(200, said)


SCORED = (("@", 2.0), ("look", 0.5), ("_up", None), (" n=", 3.0), ("7", 0.25))
"""Tokens of a turn in the compact dialect, each with its margin in log p; None for one with no other beside it."""


def weighed(token: str, margin: float | None, top: int) -> dict[str, Any]:
    """A token as endpoints give it with the likeliest ones beside it, which need not stand in order."""
    best = 0.0 if margin is None else -math.log(1 + math.exp(-margin))
    rest = [{"token": "?", "logprob": -9999.0 if margin is None else best - margin}] if top > 1 else []
    return {"token": token, "logprob": best, "top_logprobs": [*rest, {"token": token, "logprob": best}]}


async def scored(x: Exchange) -> None:
    """A turn of text in tokens, with the likeliest tokens beside each where the request asks for them."""
    said = x.turn(text="".join(token for token, _ in SCORED))
    if x.body.get("logprobs"):
        rows = [weighed(token, margin, x.body.get("top_logprobs", 0)) for token, margin in SCORED]
        if not x.body.get("top_logprobs"):
            rows = [{k: v for k, v in row.items() if k != "top_logprobs"} for row in rows]
        said["choices"][0]["logprobs"] = {"content": rows}
    await x.send(200, said)


async def no_scores(x: Exchange) -> None:
    """An endpoint that refuses to be asked for log-probabilities."""
    if "logprobs" in x.body or "top_logprobs" in x.body:
        return await status(400)(x)
    return await scored(x)


OTHERS: dict[str, Callable[[Exchange], Awaitable[None]]] = {
    "good": good,
    "scored": scored,
    "no_scores": no_scores,
    "400": status(400),
    "401": status(401),
    "429_date": lambda x: x.send(
        429, {}, "application/json", f"Retry-After: {formatdate(time.time() + 2, usegmt=True)}"
    ),
    "429_skewed": lambda x: x.send(429, {}, "application/json", *skewed()),
    "spelt": spelt,
    "clipped": lambda x: x.send(200, x.turn(text=x.key + "." * 190, finish="length")),
    "clipped_page": lambda x: x.send(400, ("." * 185 + x.key + "." * 200).encode(), "text/plain"),
    "clipped_error": lambda x: x.send(
        400, f'{{"error": {{"message": "{"." * 180}{escaped(x.key)}{"." * 200}"}}}}'.encode()
    ),
    "echo": lambda x: x.send(200, x.turn(text=json.dumps(x.key + '"\\/' + x.key))),
}
"""Never drawn: asked for by `fault=NAME`."""


class Faulty:
    """The endpoint: `url` once it serves, `books`, and `down`, which makes it answer 503 to all."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.books = Books()
        self.down = False
        self.url = ""

    def bill(self, usage: dict[str, int]) -> None:
        self.books.priced += 1
        self.books.prompt_tokens += usage["prompt_tokens"]
        self.books.completion_tokens += usage["completion_tokens"]

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._client, "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        return server

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # hung up, or the endpoint is put away
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = (line.partition(":") for line in head.split("\r\n")[1:])
        fields = {name.lower(): value.strip() for name, _, value in lines}
        if head.startswith("GET /books"):
            data = json.dumps(self.books.shown()).encode()
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
            await writer.drain()
            return True
        data = await reader.readexactly(int(fields["content-length"]))
        digest = hashlib.blake2b(data, digest_size=8).hexdigest()
        key = fields.get("authorization", "").removeprefix("Bearer ")
        books = self.books
        books.attempts[digest] += 1
        books.keys.add(key)
        x = Exchange(self, reader, writer, json.loads(data), digest, key, books.attempts[digest])
        books.requests += 1
        books.repeats += digest in books.answered
        books.running += 1
        books.most = max(books.most, books.running)
        try:
            await self._answer(x)
        finally:
            books.running -= 1
        return True

    async def _answer(self, x: Exchange) -> None:
        text = str(x.body["messages"][-1].get("content"))
        name = self.plan.behaviour(text, x.digest, x.attempt)
        if self.down:
            name = "503"
            self.books.while_down += 1
        self.books.met[name] += 1
        self.books.first_ill += x.attempt == 1 and name != "good"
        self.books.moments.append((x.digest, time.monotonic()))
        if self.plan.latency_s:
            await asyncio.sleep(self.plan.latency_s)
        await {**WIRE, **SAID, **OTHERS}[name](x)
        if name in SAID or name == "good":
            self.books.answered.add(x.digest)


# serving --------------------------------------------------------------------------------------


@contextmanager
def serving(plan: Plan | None = None) -> Generator[Faulty]:
    """The endpoint in a thread of this process, its books within reach."""
    faulty = Faulty(plan or Plan())
    ready = threading.Event()
    stops: list[Callable[[], None]] = []

    async def work() -> None:
        server = await faulty.start()
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(done.set))
        ready.set()
        await done.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(work()), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield faulty
    finally:
        stops[0]()
        thread.join()


@contextmanager
def serving_apart(plan: Plan) -> Generator[str]:
    """The address of the endpoint in a process of its own, so that it takes no time from the client's."""
    settings = ["--rate", plan.rate, "--seed", plan.seed, "--latency", plan.latency_s]
    command = [sys.executable, str(Path(__file__)), *map(str, settings)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()
        process.wait(10)


def books(url: str) -> dict[str, Any]:
    """What the endpoint at `url` has counted."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url.removesuffix("/v1") + "/books", timeout=10) as response:
        return json.load(response)


async def _serve(plan: Plan) -> None:
    faulty = Faulty(plan)
    async with await faulty.start():
        sys.stdout.write(f"{faulty.url}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0)
    given = parser.parse_args()
    asyncio.run(_serve(Plan(given.rate, given.seed, given.latency)))

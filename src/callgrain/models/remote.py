"""Any OpenAI-compatible endpoint, by native tool calls or in text.

Endpoints fail in every way that a network allows. One item's failure is recorded in its Reply
and the rest goes on; an endpoint that fails altogether (refused, wrong key, wrong address)
stops the run with a remedy, before anything is lost.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any, Literal

from pydantic import Field

from callgrain.core import plugins
from callgrain.core.canonical import text_key
from callgrain.core.errors import BadInput, BrokenModel
from callgrain.core.protocols import Dialect
from callgrain.core.recipe import Recipe
from callgrain.core.types import Prompt, Reply
from callgrain.dialects._calls import read_value
from callgrain.dialects._recover import spoken
from callgrain.dialects._wire import WireError, extras, first_choice, is_cut, text_of_choice
from callgrain.models import _wire

BODY_LIMIT = 16 * 1024 * 1024
"""Bytes of the longest answer that is read."""

_RETRIED = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_SYSTEMATIC = {401, 403, 404}


class RemoteRecipe(Recipe):
    """How an endpoint is asked."""

    dialect: str = Field(
        default="native", description="native tool calls, or a dialect in plain text: json, compact, ..."
    )
    key_env: str = Field(default="OPENAI_API_KEY", description="environment variable that holds the API key")
    concurrency: int = Field(default=8, ge=1, le=1024, description="requests under way at a time")
    timeout_s: float = Field(
        default=60.0, gt=0, description="seconds that one request may take, from first byte to last"
    )
    retries: int = Field(default=4, ge=0, le=20, description="further attempts after a failure that may pass")
    longest_wait_s: float = Field(
        default=60.0, ge=0, description="longest pause between attempts, whatever Retry-After says"
    )
    logprobs: bool = Field(default=False, description="ask for the log-probabilities of the tokens")
    limit_name: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="what the endpoint calls its limit of new tokens"
    )


@dataclass(eq=False)
class _Failure(Exception):
    """Why an attempt gave no reply; `systematic` where every other item will fail alike."""

    reason: str
    retried: bool = False
    systematic: bool = False
    wait_s: float | None = None


@dataclass
class _Tally:
    """What became of the requests of one batch."""

    in_a_row: int = 0
    systematic: int = 0
    stopped: str = ""


class Remote:
    """A model behind an OpenAI-compatible endpoint: `Remote("NAME@URL", **RemoteRecipe's fields)`.

    `answer` may be called from within a running event loop too. Raises BadInput for an
    address that is none, UnknownName for a dialect or an option that is none.
    """

    settings = RemoteRecipe
    can_constrain = False

    def __init__(self, rest: str, **options: Any) -> None:
        import httpx2

        self._recipe = RemoteRecipe.resolve(options)
        self._model, address = _wire.split_endpoint(rest)
        try:
            url = httpx2.URL(address)
        except httpx2.InvalidURL as error:
            raise BadInput(f"the address in {self._model!r} is no URL: {error}", "write remote:NAME@URL") from error
        if not url.host:
            raise BadInput(f"{address!r} names no host", "write remote:NAME@URL")
        self._url = f"{address}/chat/completions"
        self._place = f"{url.scheme}://{url.host}{f':{url.port}' if url.port else ''}{url.path}"
        self.name = f"remote:{self._model}@{self._place}"
        self._key = os.environ.get(self._recipe.key_env, "").strip()
        if not self._key.isascii() or any(c in self._key for c in "\r\n"):
            raise BadInput(f"the key in {self._recipe.key_env} holds signs that no key has", "set it again")
        self._secrets = [s for s in (self._key, url.password or "") if s]
        named = self._recipe.dialect
        self._dialect: Dialect | None = None if named == "native" else plugins.load("dialects", named)()
        self._proved = False

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """One Reply a prompt, in order; failures are recorded in their Reply.

        Raises BrokenModel where the endpoint refuses the connection, the key or the address
        for all of them, or has never yet answered anything and fails every one of a batch.
        """
        return _finished(self._answer_all(prompts)) if prompts else []

    async def _answer_all(self, prompts: Sequence[Prompt]) -> list[Reply]:
        import httpx2

        recipe = self._recipe
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        limits = httpx2.Limits(max_connections=recipe.concurrency, max_keepalive_connections=recipe.concurrency)
        timeout = httpx2.Timeout(recipe.timeout_s, pool=None)
        tally = _Tally()
        async with httpx2.AsyncClient(headers=headers, limits=limits, timeout=timeout) as client:
            # The first prompt ever goes ahead alone: a wrong key then costs one request, not thousands.
            ahead = 0 if self._proved else 1
            replies = [await self._item(client, prompt, tally, probing=True) for prompt in prompts[:ahead]]
            replies += await self._spread(client, prompts[ahead:], tally)
        failures = [reply.failure for reply in replies if reply.failure is not None]
        if len(failures) < len(replies):
            self._proved = True
        elif tally.systematic == len(replies) or (not self._proved and len(replies) > 1):
            raise BrokenModel(f"{self.name} failed all of {len(replies)}: {failures[0]}", self._remedy())
        return replies

    async def _spread(self, client: Any, prompts: Sequence[Prompt], tally: _Tally) -> list[Reply]:
        """The replies to `prompts`, by as many workers as the recipe lets run at a time."""
        replies: dict[int, Reply] = {}
        waiting = iter(enumerate(prompts))

        async def work() -> None:
            for number, prompt in waiting:
                replies[number] = await self._item(client, prompt, tally, probing=False)

        await asyncio.gather(*(work() for _ in range(min(self._recipe.concurrency, len(prompts)))))
        return [replies[number] for number in range(len(prompts))]

    async def _item(self, client: Any, prompt: Prompt, tally: _Tally, *, probing: bool) -> Reply:
        """The reply to one prompt after all attempts. Raises BrokenModel only where it is the probe."""
        if tally.stopped:
            tally.systematic += 1
            return Reply(failure=f"not asked: the endpoint fails throughout ({tally.stopped})")
        rng = Random(text_key("backoff", prompt.key))
        for attempt in range(self._recipe.retries + 1):
            try:
                reply = await self._attempt(client, prompt)
            except _Failure as failure:
                reason = self._redacted(failure.reason)
                if probing and failure.systematic:
                    raise BrokenModel(f"{self.name}: {reason}", self._remedy()) from None
                if failure.retried and attempt < self._recipe.retries:
                    await asyncio.sleep(self._pause_s(attempt, failure.wait_s, rng))
                    continue
                tally.in_a_row += failure.systematic
                tally.systematic += failure.systematic
                if tally.in_a_row >= 2 * self._recipe.concurrency + 1:
                    tally.stopped = reason
                after = f" after {attempt + 1} attempts" if attempt else ""
                return Reply(failure=f"{reason}{after}")
            tally.in_a_row = 0
            return reply
        raise AssertionError("the last attempt returns")

    async def _attempt(self, client: Any, prompt: Prompt) -> Reply:
        """One request. Raises _Failure."""
        import httpx2

        body = self._body(prompt)
        try:
            async with asyncio.timeout(self._recipe.timeout_s):
                async with client.stream("POST", self._url, json=body) as response:
                    content = await _bounded(response)
        except (TimeoutError, httpx2.TimeoutException):
            raise _Failure(f"timeout after {self._recipe.timeout_s:g} s", retried=True) from None
        except httpx2.ConnectError as error:
            raise _Failure(f"no connection ({error})", retried=True, systematic=True) from None
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL, httpx2.LocalProtocolError) as error:
            raise _Failure(f"the request cannot be sent ({error})", systematic=True) from None
        except httpx2.HTTPError as error:
            raise _Failure(f"the connection broke ({type(error).__name__}: {error})", retried=True) from None
        _check(response, content)
        try:
            return self._read(_parsed(content), prompt)
        except WireError as error:
            raise _Failure(str(error)) from None

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        body = _wire.native_body(prompt) if self._dialect is None else _wire.text_body(self._dialect.turns(prompt))
        body = {"model": self._model, **body, **_wire.sampling_body(prompt, self._recipe.limit_name)}
        return {**body, "logprobs": True} if self._recipe.logprobs else body

    def _read(self, answer: Any, prompt: Prompt) -> Reply:
        if self._dialect is None:
            return _wire.read_reply(answer, prompt)
        choice = first_choice(answer)
        text = text_of_choice(choice)
        if self._dialect.end:
            text = text.partition(self._dialect.end)[0]
        return spoken(self._dialect, text, ended=not is_cut(choice), **extras(answer, choice))

    def _pause_s(self, attempt: int, asked_s: float | None, rng: Random) -> float:
        """Seconds before the next attempt: what Retry-After asks, else doubling, spread out."""
        doubling = 0.5 * 2**attempt * (0.5 + rng.random())
        return min(self._recipe.longest_wait_s, doubling if asked_s is None else asked_s)

    def _redacted(self, text: str) -> str:
        """`text` without the key: error pages like to repeat it."""
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        return text

    def _remedy(self) -> str:
        key = "is set" if self._key else "is not set"
        return (
            f"check that the server runs at {self._place} (the address usually ends in /v1), that it serves "
            f"{self._model!r}, and the key: {self._recipe.key_env} {key} (--key-env names another variable)"
        )


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or an HTTP date; None where it says nothing."""
    if not value:
        return None
    value = value.strip()[:64]
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now_s
        except (ValueError, OverflowError, OSError):
            return None
    return max(0.0, seconds) if seconds < float("inf") else None


async def _bounded(response: Any) -> bytes:
    """The body, as far as BODY_LIMIT. Raises _Failure beyond it."""
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > BODY_LIMIT:
            raise _Failure(f"the answer is longer than {BODY_LIMIT // 2**20} MiB")
        parts.append(part)
    return b"".join(parts)


def _check(response: Any, content: bytes) -> None:
    """Raises _Failure for an answer that is no success in JSON."""
    status: int = response.status_code
    if status in _SYSTEMATIC:
        raise _Failure(f"HTTP {status}: {_told(content)}", systematic=True)
    if status >= 400:
        wait_s = retry_after_s(response.headers.get("retry-after"), time.time())
        raise _Failure(f"HTTP {status}: {_told(content)}", retried=status in _RETRIED, wait_s=wait_s)
    if status != 200:
        raise _Failure(f"HTTP {status} instead of an answer: is the address right?")
    kind = str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
    if kind == "text/html" or content.lstrip()[:1] == b"<":
        raise _Failure("the endpoint answered with HTML, not JSON: is the address right?")
    if kind and "json" not in kind and kind not in ("text/plain", "application/octet-stream"):
        raise _Failure(f"the endpoint answered with {kind[:80]}, not JSON")


def _told(content: bytes) -> str:
    """What an error page says, in a line: the message of OpenAI's error object, else its beginning."""
    try:
        first_choice(_parsed(content))
    except WireError as error:
        told = str(error)
        if told.startswith("the endpoint says: "):
            return told.removeprefix("the endpoint says: ")
    return " ".join(content[:300].decode(errors="replace").split())[:200] or "no reason given"


def _parsed(content: bytes) -> Any:
    text = content.decode(errors="replace")
    try:
        value, end = read_value(text)
    except ValueError as error:
        raise WireError(f"the answer is no JSON ({str(error)[:100]})") from None
    if text[end:].strip():
        raise WireError("the answer is no JSON (text after its end)")
    return value


def _finished(work: Coroutine[Any, Any, list[Reply]]) -> list[Reply]:
    """The result of `work`; in a thread of its own where an event loop runs already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    out: list[list[Reply]] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            out.append(asyncio.run(work))
        except BaseException as error:  # handed on to the caller's thread below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return out[0]


plugin = Remote

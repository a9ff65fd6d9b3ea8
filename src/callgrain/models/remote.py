"""Any OpenAI-compatible endpoint, by native tool calls or in text.

Endpoints fail in every way that a network allows. One item's failure is recorded in its Reply, with its
class (`_dispatch.FAILURES`), and the rest goes on; an endpoint that fails altogether (refused, wrong key,
wrong address) stops the run with a remedy, before anything is lost. Further attempts, the circuit breaker
and the caps on spending are in `_dispatch.py`; the key leaves this file in one header and nowhere else.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Literal

from pydantic import Field

from callgrain.core import plugins
from callgrain.core.errors import BadInput, BrokenModel
from callgrain.core.protocols import Dialect, Tier
from callgrain.core.recipe import Recipe
from callgrain.core.types import Json, Prompt, Reply
from callgrain.dialects._calls import read_value
from callgrain.dialects._recover import spoken
from callgrain.dialects._wire import WireError, extras, first_choice, is_cut, text_of_choice
from callgrain.models import _wire
from callgrain.models._dispatch import Dispatch, Each, Failure, Policy, failure_class
from callgrain.models._secrets import Secrets
from callgrain.models._spending import Caps, Ledger

BODY_LIMIT = 16 * 1024 * 1024
"""Bytes of the longest answer that is read."""

_RETRIED = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_SYSTEMATIC = {401, 403, 404}
_REFUSED = ("http_4xx", False)
"""How some endpoints refuse a request for scores that they cannot give: without that they answer."""


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
    breaker_after: int = Field(default=20, ge=1, description="straight failures after which all requests wait")
    breaker_wait_s: float = Field(
        default=5.0, gt=0, description="first pause of all requests; each one after it is twice as long"
    )
    breaker_probes: int = Field(default=5, ge=1, description="single requests that go ahead before the rest is left")
    max_requests: int = Field(default=0, ge=0, description="most requests in all, further attempts counted (0: any)")
    max_tokens_total: int = Field(
        default=0, ge=0, description="tokens, of prompts and completions, after which nothing more is sent (0: any)"
    )
    max_cost: float = Field(
        default=0.0, ge=0, description="money after which nothing more is sent, in the unit of the prices (0: any)"
    )
    price_in: float = Field(default=0.0, ge=0, description="price of a million tokens of prompts")
    price_out: float = Field(default=0.0, ge=0, description="price of a million tokens of completions")

    @property
    def policy(self) -> Policy:
        """How hard the endpoint is asked."""
        return Policy(
            self.concurrency,
            self.retries,
            self.longest_wait_s,
            self.breaker_after,
            self.breaker_wait_s,
            self.breaker_probes,
        )

    @property
    def caps(self) -> Caps:
        """Where spending ends. Raises BadInput for a cap on money without prices."""
        if self.max_cost and not (self.price_in or self.price_out):
            raise BadInput("max_cost is set and no price", "set price_in and price_out, per million tokens")
        return Caps(self.max_requests, self.max_tokens_total, self.max_cost, self.price_in, self.price_out)


class Remote:
    """A model behind an OpenAI-compatible endpoint: `Remote("NAME@URL", **RemoteRecipe's fields)`.

    `answer` may be called from within a running event loop too. `ledger` counts what was spent. Raises
    BadInput for an address that is none, UnknownName for a dialect or an option that is none.
    """

    settings = RemoteRecipe
    tier: Tier = "scores"
    can_constrain = False

    def __init__(self, rest: str, **options: Any) -> None:
        import httpx2

        self._recipe = RemoteRecipe.resolve(options)
        self.ledger = Ledger(self._recipe.caps)
        self._model, address = _wire.split_endpoint(rest)
        try:
            url = httpx2.URL(address)
        except httpx2.InvalidURL as error:
            raise BadInput(f"the address in {self._model!r} is no URL: {error}", "write remote:NAME@URL") from error
        if not url.host:
            raise BadInput(f"{address!r} names no host", "write remote:NAME@URL")
        # A log line of the HTTP library shows the whole address, so the password travels apart from it.
        self._auth = (url.username, url.password) if url.username or url.password else None
        self._url = f"{str(url.copy_with(userinfo=b'')).rstrip('/')}/chat/completions"
        self._place = f"{url.scheme}://{url.host}{f':{url.port}' if url.port else ''}{url.path}"
        self.name = f"remote:{self._model}@{self._place}"
        self._key = os.environ.get(self._recipe.key_env, "").strip()
        if not self._key.isascii() or any(c in self._key for c in "\r\n"):
            raise BadInput(f"the key in {self._recipe.key_env} holds signs that no key has", "set it again")
        self._secrets = Secrets(self._key, url.password, f"{url.username}:{url.password}" if url.password else "")
        named = self._recipe.dialect
        self._dialect: Dialect | None = None if named == "native" else plugins.load("dialects", named)()
        self._tls: Any = None
        self._refuses_scores = self._gave_scores = False
        self._proved = False
        self._breaker = self._recipe.policy.breaker()

    @property
    def generation(self) -> dict[str, Any]:
        """The settings that change what is answered, beside those of the prompt."""
        return {"dialect": self._recipe.dialect, "logprobs": self._recipe.logprobs}

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """One Reply a prompt, in order; failures are recorded in their Reply.

        Raises BrokenModel where the endpoint refuses the connection, the key or the address
        for all of them, or has never yet answered anything and fails every one of a batch.
        """
        return self.answer_telling(prompts, _unheard)

    def answer_telling(self, prompts: Sequence[Prompt], each: Each) -> list[Reply]:
        """As `answer`; `each` is called with a prompt's number and its reply as soon as it is there.

        A worker goes on to the next prompt when `each` has returned, so what `each` has not seen
        is never more than what is in flight. What `each` raises ends the batch.
        """
        return _finished(self._answer_all(prompts, each)) if prompts else []

    async def _answer_all(self, prompts: Sequence[Prompt], each: Each) -> list[Reply]:
        import httpx2

        recipe = self._recipe
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        limits = httpx2.Limits(max_connections=recipe.concurrency, max_keepalive_connections=recipe.concurrency)
        timeout = httpx2.Timeout(recipe.timeout_s, pool=None)
        self._tls = self._tls or httpx2.create_ssl_context()  # once: it reads every certificate of the machine
        async with httpx2.AsyncClient(
            auth=self._auth, headers=headers, limits=limits, timeout=timeout, verify=self._tls
        ) as client:
            attempt = partial(self._attempt, client)
            dispatch = Dispatch(recipe.policy, self._breaker, attempt, self.ledger, each)
            try:
                # The first prompt ever goes ahead alone: a wrong key then costs one request, not thousands.
                replies = await dispatch.run(prompts, ahead=0 if self._proved else 1)
            except Failure as failure:
                raise BrokenModel(f"{self.name}: {failure.reason}", self._remedy()) from None
        self._judge(replies, dispatch.systematic)
        return replies

    def _judge(self, replies: Sequence[Reply], systematic: int) -> None:
        """Raises BrokenModel where a whole batch says that the endpoint is of no use."""
        failures = [reply.failure for reply in replies if reply.failure is not None]
        if len(failures) < len(replies) or any(failure_class(failure) == "budget" for failure in failures):
            return
        never = not self._proved and len(replies) > 1
        if never or systematic == len(replies) or self._breaker.gave_up:
            raise BrokenModel(f"{self.name} failed all of {len(replies)}: {failures[0]}", self._remedy())

    async def _attempt(self, client: Any, prompt: Prompt) -> Reply:
        """One request; its usage goes into the ledger. Raises Failure, without any secret in it."""
        try:
            response, text = await self._fetched(client, self._body(prompt))
            value, broken = _parsed(text)
            self.ledger.take(value)
            value = self._secrets.hide_in(value)
            _check(response, value, self._secrets.hide(text))
            if broken:
                raise Failure("broken_body", broken, again=1)
            reply = self._secrets.hide_in_reply(self._read(value, prompt))
        except Failure as failure:
            failure.reason = self._secrets.hide(failure.reason)
            if prompt.sampling.scores and not self._gave_scores and (failure.kind, failure.systematic) == _REFUSED:
                self._refuses_scores, failure.again = True, 1
            raise
        self._proved = True
        self._gave_scores |= reply.margins is not None
        return reply

    async def _fetched(self, client: Any, body: Mapping[str, Any]) -> tuple[Any, str]:
        """The response and its body. Raises Failure."""
        import httpx2

        begun = False
        try:
            async with asyncio.timeout(self._recipe.timeout_s):
                async with client.stream("POST", self._url, json=body) as response:
                    begun = True
                    return response, (await _bounded(response)).decode(errors="replace")
        except (TimeoutError, httpx2.TimeoutException):
            raise Failure("timeout", f"timeout after {self._recipe.timeout_s:g} s", again=None) from None
        except httpx2.ConnectError as error:
            raise Failure("refused", f"no connection ({error})", again=None, systematic=True) from None
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL, httpx2.LocalProtocolError) as error:
            raise Failure("unsendable", f"the request cannot be sent ({error})", systematic=True) from None
        except httpx2.HTTPError as error:
            told = f"the connection broke ({type(error).__name__}: {error})"
            raise Failure("cut" if begun else "reset", told, again=None) from None

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        body = _wire.native_body(prompt) if self._dialect is None else _wire.text_body(self._dialect.turns(prompt))
        body = {"model": self._model, **body, **_wire.sampling_body(prompt, self._recipe.limit_name)}
        wants_scores = prompt.sampling.scores and not self._refuses_scores
        return {**body, **_wire.scores_body(self._recipe.logprobs, wants_scores)}

    def _read(self, answer: Json, prompt: Prompt) -> Reply:
        """The Reply that a chat completion makes. Raises Failure for what is none."""
        try:
            if self._dialect is None:
                return _wire.read_reply(answer, prompt)
            choice = first_choice(answer)
        except WireError as error:
            told = isinstance(answer, dict) and answer.get("error") is not None
            raise Failure("told_error" if told else "no_choices", str(error), again=1) from None
        text = text_of_choice(choice)
        if self._dialect.end:
            text = text.partition(self._dialect.end)[0]
        found = extras(answer, choice)
        scores = _wire.scores_of(choice) if prompt.sampling.scores and "tokens" in found else {}
        return spoken(self._dialect, text, ended=not is_cut(choice), **found, **scores)

    def _remedy(self) -> str:
        key = "is set" if self._key else "is not set"
        return (
            f"check that the server runs at {self._place} (the address usually ends in /v1), that it serves "
            f"{self._model!r}, and the key: {self._recipe.key_env} {key} (--key-env names another variable)"
        )


def _unheard(number: int, reply: Reply) -> None:
    del number, reply


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
    """The body, as far as BODY_LIMIT. Raises Failure beyond it, at once where the head says so."""
    parts: list[bytes] = []
    announced = str(response.headers.get("content-length", ""))
    size = int(announced) if announced.isascii() and announced.isdigit() and len(announced) < 20 else 0
    if size <= BODY_LIMIT:
        size = 0
        async for part in response.aiter_bytes():
            size += len(part)
            if size > BODY_LIMIT:
                break
            parts.append(part)
    if size > BODY_LIMIT:
        raise Failure("too_long", f"the answer is longer than {BODY_LIMIT // 2**20} MiB", again=1)
    return b"".join(parts)


def _check(response: Any, value: Json, text: str) -> None:
    """Raises Failure for an answer that is no success in JSON; `value` is its body read, `text` as it came."""
    status: int = response.status_code
    if status >= 400:
        kind = "http_429" if status == 429 else "http_4xx" if status < 500 else "http_5xx"
        wait_s = retry_after_s(response.headers.get("retry-after"), _now_s(response))
        again = None if status in _RETRIED else 0
        raise Failure(kind, f"HTTP {status}: {_told(value, text)}", again, wait_s, systematic=status in _SYSTEMATIC)
    if status != 200:
        raise Failure("http_other", f"HTTP {status} instead of an answer: is the address right?")
    kind = str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
    if kind == "text/html" or text.lstrip()[:1] == "<":
        raise Failure("broken_body", "the endpoint answered with HTML, not JSON: is the address right?")
    if kind and "json" not in kind and kind not in ("text/plain", "application/octet-stream"):
        raise Failure("broken_body", f"the endpoint answered with {kind[:80]}, not JSON", again=1)


def _now_s(response: Any) -> float:
    """The time by the endpoint's own clock, where it says so: its dates are to be held against that."""
    now_s = time.time()
    told_s = retry_after_s(response.headers.get("date"), 0.0)
    return told_s if told_s and abs(told_s - now_s) > 1.5 else now_s  # an HTTP date knows whole seconds only


def _told(value: Json, text: str) -> str:
    """What a body says, in a line: the message of OpenAI's error object, else its beginning."""
    try:
        first_choice(value)
    except WireError as error:
        if str(error).startswith("the endpoint says: "):
            return str(error).removeprefix("the endpoint says: ")
    return " ".join(text[:300].split())[:200] or "no reason given"


def _parsed(text: str) -> tuple[Json, str]:
    """The JSON value that `text` is, or None and why it is none."""
    try:
        value, end = read_value(text)
    except ValueError as error:
        return None, f"the answer is no JSON ({str(error)[:100]})"
    return (None, "the answer is no JSON (text after its end)") if text[end:].strip() else (value, "")


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

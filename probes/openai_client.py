"""A small client for OpenAI-compatible servers that measures one streamed answer and distrusts everything it reads."""

from __future__ import annotations

import http.client
import json
import math
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from advisor.catalog.errors import FathomError, InputError
from probes.failure import Failure
from probes.spec import EndpointTarget

__all__ = ["Answer", "EndpointClient", "EndpointError", "parse_metrics"]

MAX_LINE_BYTES = 2**20
MAX_BODY_BYTES = 2**24
WORD = "measure "  # about one token in every tokenizer
TEMPLATE_TOKENS = 8  # what a chat template adds
MARK_WORDS = 4  # random words in front, so that no server finds the prompt in its cache
MARKS = ("red", "blue", "green", "one", "two", "three", "sun", "moon", "sea", "tree", "stone", "bird", "north", "south")
LEAST_WORDS = 16  # fewer say nothing about tokens per word


class EndpointError(FathomError):
    """The server could not be reached, or what it sent is no answer; one line, and the same by key and values."""

    def __init__(self, key: str, **values: str) -> None:
        self.failure = Failure(f"endpoint.{key}", values)
        super().__init__(self.failure.text)


@dataclass(frozen=True, slots=True)
class Answer:
    """One streamed answer. Times are seconds since the request was sent."""

    first_token_s: float
    last_token_s: float
    prompt_tokens: int
    output_tokens: int
    counted_by_server: bool  # False: pieces of the stream were counted

    @property
    def tpot_s(self) -> float | None:
        """None for a single token."""
        return (self.last_token_s - self.first_token_s) / (self.output_tokens - 1) if self.output_tokens > 1 else None


class EndpointClient:
    """Connections are made per request: a stuck one cannot disturb the next."""

    def __init__(self, target: EndpointTarget) -> None:
        parts = urlsplit(target.url if "//" in target.url else f"http://{target.url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError("url", "http://host:port of an OpenAI-compatible server", target.url)
        self._target, self._parts = target, parts
        path = parts.path.rstrip("/")
        self._base = path if path.endswith("/v1") else f"{path}/v1"
        self._key = os.environ.get(target.api_key_env, "") if target.api_key_env else ""
        self._plain = False  # the server refused our optional fields
        self._tokens_per_word = 1.0  # of this server's tokenizer, once it has counted a prompt
        self._random = random.Random()  # noqa: S311  (not a secret)
        self.model = target.model

    def connect(self) -> str:
        """Find the name of the served model. Raises EndpointError when there is no usable server."""
        if not self.model:
            listing = self._get_json(f"{self._base}/models")
            rows = listing.get("data") if isinstance(listing, dict) else None
            if not isinstance(rows, list) or not rows or not isinstance(rows[0], dict) or "id" not in rows[0]:
                raise self._problem("no_models")
            self.model = str(rows[0]["id"])
        return self.model

    def complete(self, prompt_tokens: int, output_tokens: int) -> Answer:
        """Stream one answer. Raises EndpointError when the server hangs, sends garbage or stops in the middle."""
        words = max(1, round((prompt_tokens - TEMPLATE_TOKENS) / self._tokens_per_word))
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": self._prompt(words)}],
            "max_tokens": output_tokens,
            "temperature": 0,
            "stream": True,
        }
        extra = {"stream_options": {"include_usage": True}, "ignore_eos": True}
        if not self._plain:
            try:
                return self._learn(words, self._stream({**body, **extra}, prompt_tokens))
            except _RefusedFieldsError:
                self._plain = True
        return self._learn(words, self._stream(body, prompt_tokens))

    def _prompt(self, words: int) -> str:
        marks = self._random.choices(MARKS, k=min(MARK_WORDS, words))
        return " ".join(marks) + " " + WORD * (words - len(marks))

    def _learn(self, words: int, answer: Answer) -> Answer:
        """The next prompts have the length that is asked for."""
        if answer.counted_by_server and words >= LEAST_WORDS:
            self._tokens_per_word = max(0.1, (answer.prompt_tokens - TEMPLATE_TOKENS) / words)
        return answer

    def metrics(self) -> dict[str, float]:
        """The server's Prometheus figures; empty where it has none."""
        url = urlsplit(self._target.metrics_url) if self._target.metrics_url else self._parts._replace(path="/metrics")
        try:
            with _Connection(url, self._target.timeout_s) as connection:
                connection.request("GET", url.path or "/metrics")
                response = connection.getresponse()
                text = response.read(MAX_BODY_BYTES).decode("utf-8", errors="replace")
        except (OSError, http.client.HTTPException):
            return {}
        return parse_metrics(text) if response.status == 200 else {}

    def _stream(self, body: dict[str, object], prompt_tokens: int) -> Answer:
        start = time.perf_counter()
        try:
            with _Connection(self._parts, self._target.timeout_s) as connection:
                connection.request("POST", f"{self._base}/chat/completions", json.dumps(body), self._headers())
                response = connection.getresponse()
                self._check_status(response, optional="stream_options" in body)
                return self._read(response, start, prompt_tokens)
        except TimeoutError as problem:
            raise self._problem("hangs", seconds=f"{self._target.timeout_s:g}") from problem
        except (OSError, http.client.HTTPException) as problem:
            raise self._problem("broken", detail=str(problem) or type(problem).__name__) from problem

    def _read(self, response: http.client.HTTPResponse, start: float, prompt_tokens: int) -> Answer:
        first = last = None
        pieces, usage, done = 0, None, False
        for event in self._events(response, start):
            if event is None:
                done = True
                break
            usage = event["usage"] if isinstance(event.get("usage"), dict) else usage
            if _has_text(event):
                last = time.perf_counter() - start
                first = first if first is not None else last
                pieces += 1
        if first is None or last is None:
            raise self._problem("no_token")
        if not done and usage is None:
            raise self._problem("mid_stream", pieces=str(pieces))
        counted = _count(usage, "completion_tokens")
        return Answer(first, last, _count(usage, "prompt_tokens") or prompt_tokens, counted or pieces, bool(counted))

    def _events(self, response: http.client.HTTPResponse, start: float) -> Iterator[dict[str, object] | None]:
        """Parsed server-sent events; None for the closing one."""
        size, deadline = 0, start + 10 * self._target.timeout_s
        while line := response.readline(MAX_LINE_BYTES):
            size += len(line)
            if size > MAX_BODY_BYTES or len(line) >= MAX_LINE_BYTES:
                raise self._problem("too_much")
            if time.perf_counter() > deadline:
                raise self._problem("slow", seconds=f"{deadline - start:g}")
            text = line.decode("utf-8", errors="replace").strip()
            if not text.startswith("data:"):
                if text and not text.startswith((":", "event:", "id:", "retry:")):
                    raise self._problem("no_stream", text=text[:60])
                continue
            if text[5:].strip() == "[DONE]":
                yield None
                return
            yield self._parse(text[5:])

    def _parse(self, text: str) -> dict[str, object]:
        try:
            event = json.loads(text)
        except ValueError as problem:
            raise self._problem("not_json", text=text[:60].strip()) from problem
        if not isinstance(event, dict):
            raise self._problem("not_object")
        if "error" in event:
            raise self._problem("broken", detail=str(event["error"])[:200])
        return event

    def _check_status(self, response: http.client.HTTPResponse, *, optional: bool) -> None:
        if response.status == 200:
            return
        text = response.read(2000).decode("utf-8", errors="replace").replace("\n", " ")
        if optional and response.status in (400, 422):
            raise _RefusedFieldsError(text)
        raise self._problem("status", path="", status=f"{response.status} {response.reason}: {text[:200]}")

    def _get_json(self, path: str) -> object:
        try:
            with _Connection(self._parts, self._target.timeout_s) as connection:
                connection.request("GET", path, headers=self._headers())
                response = connection.getresponse()
                text = response.read(MAX_BODY_BYTES)
        except TimeoutError as problem:
            raise self._problem("hangs", seconds=f"{self._target.timeout_s:g}") from problem
        except (OSError, http.client.HTTPException) as problem:
            raise self._problem("unreachable", detail=str(problem) or type(problem).__name__) from problem
        if response.status != 200:
            raise self._problem("status", path=path, status=f"{response.status} {response.reason}")
        try:
            return json.loads(text)
        except ValueError as problem:
            raise self._problem("no_json", path=path) from problem

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        return headers | ({"Authorization": f"Bearer {self._key}"} if self._key else {})

    def _problem(self, key: str, **values: str) -> EndpointError:
        return EndpointError(key, where=self._where(), **values)

    def _where(self) -> str:
        """Without user name and password."""
        return f"{self._parts.scheme}://{self._parts.hostname}" + (f":{self._parts.port}" if self._parts.port else "")


class _RefusedFieldsError(Exception):
    """The server does not know `stream_options` or `ignore_eos`."""


class _Connection:
    """A connection that is closed whatever happens."""

    def __init__(self, url: SplitResult, timeout_s: float) -> None:
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(url.hostname or "", url.port, timeout=timeout_s)

    def __enter__(self) -> http.client.HTTPConnection:
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def parse_metrics(text: str) -> dict[str, float]:
    """Prometheus text to name -> value, summed over labels; buckets and lines that are none are left out."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        words = line.rsplit(" ", 1)
        name = words[0].split("{", 1)[0].strip()
        if line.startswith("#") or len(words) != 2 or not name or name.endswith("_bucket"):
            continue
        try:
            value = float(words[1])
        except ValueError:
            continue
        if math.isfinite(value):  # "NaN" is what a summary says before its first value
            found[name] = found.get(name, 0.0) + value
    return found


def _has_text(event: dict[str, object]) -> bool:
    """Whether a chunk carries (reasoning) text."""
    choices = event.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return False
    delta = choices[0].get("delta") or {}
    texts = [choices[0].get("text")]
    texts += (
        [delta.get(name) for name in ("content", "reasoning_content", "reasoning")] if isinstance(delta, dict) else []
    )
    return any(isinstance(text, str) and text for text in texts)


def _count(usage: object, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value > 0 else 0

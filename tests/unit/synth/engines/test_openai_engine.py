"""A server that is busy, refuses, fails, and one that answers: what becomes of the requests."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pipeline.config import validate
from pipeline.errors import InputError
from synth.config import SynthConfig
from synth.engines.openai_engine import OpenAIEngine
from synth.engines.protocol import EngineDiedError, Prompt, RequestFailedError


class Server:
    """Replies as told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        """Statuses of the next replies; 200 when used up."""
        self.key = "secret"
        self.delay_s = 0.0
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                key = self.headers["Authorization"]
                is_right = key == f"Bearer {outer.key}"
                self._send(200 if is_right else 401, {"data": [{"id": "m"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    outer.requests.append(body | {"path": self.path})
                    outer.at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer.at_once)
                    status = outer.statuses.pop(0) if outer.statuses else 200
                time.sleep(outer.delay_s)
                with outer._lock:
                    outer.at_once -= 1
                choice = {"index": 0, "finish_reason": "stop", "text": "some text"}
                choice["message"] = {"role": "assistant", "content": "said text"}  # type: ignore[assignment]
                usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
                usage["prompt_tokens_details"] = {"cached_tokens": 1}  # type: ignore[assignment]
                said = f"no {self.headers['Authorization']} here"
                self._send(status, {"choices": [choice], "usage": usage, "message": said})

            def _send(self, status: int, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                if status == 429:
                    self.send_header("Retry-After", "0.02")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("KEY_OF_TEST", "secret")
    server = Server()
    yield server
    server.http.shutdown()


@pytest.fixture
def make(server: Server, tokenizer) -> Callable[..., OpenAIEngine]:
    def make(protocol: str = "chat", num_seqs: int = 4, **settings: Any) -> OpenAIEngine:
        openai = {"base_url": server.url, "api_key_env": "KEY_OF_TEST", **settings}
        engine = {"kind": "openai", "max_num_seqs": num_seqs, "openai": openai}
        values = {"model": "m", "protocol": protocol, "engine": engine, "temperature": 0.5}
        return OpenAIEngine(SynthConfig.model_validate(values), tokenizer)

    return make


PROMPT = Prompt([5, 6, 7], ({"role": "user", "content": "hello"},))


def test_token_ids_travel_as_they_are(server: Server, make) -> None:
    reply = asyncio.run(make().generate(PROMPT, {"type": "object"}))
    assert (reply.text, reply.num_tokens, reply.num_cached_tokens) == ("some text", 2, 1)
    asked = server.requests[0]
    assert asked["path"] == "/v1/completions"
    assert asked["prompt"] == [5, 6, 7]
    assert asked["temperature"] == 0.5
    assert asked["structured_outputs"]["json"] == {"type": "object"}


def test_other_servers_get_text_or_a_conversation(server: Server, make, tokenizer) -> None:
    asyncio.run(make(endpoint="text").generate(PROMPT))
    assert server.requests[0]["prompt"] == tokenizer.decode([5, 6, 7])
    reply = asyncio.run(make(endpoint="chat").generate(PROMPT, {"type": "object"}))
    assert reply.text == "said text"
    assert server.requests[1]["path"] == "/v1/chat/completions"
    assert server.requests[1]["messages"] == [{"role": "user", "content": "hello"}]
    schema = server.requests[1]["response_format"]["json_schema"]["schema"]
    assert schema == {"type": "object"}


def test_a_busy_server_is_asked_again(server: Server, make) -> None:
    server.statuses = [429, 503, 500]
    assert asyncio.run(make(max_retries=4).generate(PROMPT)).text == "some text"
    assert len(server.requests) == 4


def test_a_rate_limit_is_waited_for_however_long_it_lasts(server: Server, make) -> None:
    server.statuses = [429] * 6
    assert asyncio.run(make(max_retries=1).generate(PROMPT)).text == "some text"
    assert len(server.requests) == 7


@pytest.mark.parametrize(
    ("statuses", "error"),
    [([400], RequestFailedError), ([503, 503], EngineDiedError), ([403], InputError)],
)
def test_what_a_failure_means(
    server: Server, make, statuses: list[int], error: type[Exception]
) -> None:
    server.statuses = list(statuses)
    with pytest.raises(error):
        asyncio.run(make(max_retries=1).generate(PROMPT))
    assert len(server.requests) == len(statuses)


def test_no_more_requests_at_once_than_allowed(server: Server, make) -> None:
    server.delay_s = 0.05

    async def ask() -> None:
        engine = make(num_seqs=3)
        await asyncio.gather(*(engine.generate(PROMPT) for _ in range(12)))

    asyncio.run(ask())
    assert len(server.requests) == 12
    assert server.most_at_once == 3


def test_a_wrong_model_or_key_is_said_at_once(server: Server, make, monkeypatch) -> None:
    with pytest.raises(InputError, match=r"model 'large': .* serves m"):
        make(model="large")
    monkeypatch.setenv("KEY_OF_TEST", "wrong")
    with pytest.raises(InputError, match=r"status 401.*\$KEY_OF_TEST") as raised:
        make()
    assert "wrong" not in str(raised.value)


@pytest.mark.parametrize("status", [400, 403, 503])
def test_a_key_that_a_server_sends_back_is_masked(
    server: Server, make, monkeypatch, status: int
) -> None:
    server.key, server.statuses = "value-of-the-key", [status]
    monkeypatch.setenv("KEY_OF_TEST", server.key)
    with pytest.raises((InputError, RequestFailedError, EngineDiedError)) as raised:
        asyncio.run(make(max_retries=0).generate(PROMPT))
    assert "no Bearer *** here" in str(raised.value)
    assert server.key not in str(raised.value)


def test_a_key_in_the_place_of_its_variable_is_not_repeated() -> None:
    openai = {"api_key_env": "sk-value-of-the-key"}
    values = {"model": "m", "protocol": "chat", "engine": {"kind": "openai", "openai": openai}}
    with pytest.raises(InputError, match=r"engine\.openai\.api_key_env: String should") as raised:
        validate(SynthConfig, values, "my.toml")
    assert "sk-value" not in str(raised.value)


def test_a_server_that_is_not_there_is_no_engine(tokenizer) -> None:
    openai = {"base_url": "http://127.0.0.1:9/v1"}
    engine = {"kind": "openai", "start_timeout_s": 0.01, "openai": openai}
    config = SynthConfig.model_validate({"model": "m", "protocol": "chat", "engine": engine})
    with pytest.raises(EngineDiedError, match="does not answer"):
        OpenAIEngine(config, tokenizer)


def test_a_tuned_synthesizer_is_not_wrapped_in_a_chat_template() -> None:
    engine = {"kind": "openai", "openai": {"endpoint": "chat"}}
    with pytest.raises(ValueError, match="was not trained on"):
        SynthConfig.model_validate({"model": "m", "protocol": "tuned", "engine": engine})

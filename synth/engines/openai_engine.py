"""Any server that speaks OpenAI's protocol, over HTTP."""

import asyncio
import itertools
import os
import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from pipeline.errors import InputError
from pipeline.redaction import redacted
from synth.config import OpenAIConfig, SynthConfig
from synth.engines.protocol import (
    EngineDiedError,
    EngineLimits,
    Generation,
    Prompt,
    RequestFailedError,
)
from synth.engines.rate_limit import RateLimit

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PROBE_INTERVAL_S, _PROBE_TIMEOUT_S = 2.0, 30.0
_REFUSED, _CONFIG_WRONG, _LATER = (400, 413, 422), (401, 403, 404), (408, 409, 429)
_DEFAULT_WAIT_S, _LONGEST_WAIT_S = 30.0, 600.0


class OpenAIEngine:
    """Requests to a server: bounded in number and rate, tried again where that may help."""

    dtype = ""  # the server's own affair

    def __init__(self, config: SynthConfig, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Wait until the server answers.

        Raises:
            InputError: the server refuses the key, or does not have the model.
            EngineDiedError: it does not answer.
        """
        from openai import AsyncOpenAI

        self._config, self._server, self._tokenizer = config, config.engine.openai, tokenizer
        self._model = self._server.model or config.model
        self.limits = EngineLimits(config.engine.max_num_seqs)
        wait_for_server(config)
        self._client: AsyncOpenAI = AsyncOpenAI(
            base_url=self._server.base_url,
            api_key=_key(self._server),
            max_retries=self._server.max_retries,
            timeout=self._server.timeout_s,
        )
        self._places = asyncio.Semaphore(config.engine.max_num_seqs)
        self._requests = RateLimit(self._server.requests_per_minute)
        self._tokens = RateLimit(self._server.tokens_per_minute)

    @property
    def last_sign_of_life_s(self) -> float:
        """Now: each request has a timeout of its own."""
        return time.monotonic()

    async def generate(self, prompt: Prompt, schema: dict[str, Any] | None = None) -> Generation:
        """Continue one prompt."""
        import openai

        await self._requests.take(1)
        await self._tokens.take(len(prompt) + self._config.max_new_tokens)
        while True:
            async with self._places:
                try:
                    return await self._ask(prompt, schema)
                except openai.APIStatusError as error:
                    if error.status_code not in _LATER:
                        raise
                    wait_s = _wait_asked_for(error.response.headers)
                await asyncio.sleep(wait_s)  # in its place: the server has enough to do

    async def _ask(self, prompt: Prompt, schema: dict[str, Any] | None) -> Generation:
        """One request, with the client's own retries."""
        import openai

        try:
            if self._server.endpoint == "chat":
                return await self._chat(prompt, schema)
            return await self._complete(prompt, schema)
        except openai.APIStatusError as error:
            if error.status_code in _LATER:
                raise
            said = redacted(error.message)  # some servers send the key back
            if error.status_code in _REFUSED:
                raise RequestFailedError(f"the server refuses it: {said}") from error
            if error.status_code in _CONFIG_WRONG:
                raise _refused(self._server, error.status_code, said) from error
            raise EngineDiedError(f"the server fails: {said}") from error
        except openai.APIConnectionError as error:  # its timeouts, too
            raise EngineDiedError(f"the server cannot be reached: {error}") from error

    def shutdown(self) -> None:
        """Nothing of ours runs elsewhere."""

    async def _complete(self, prompt: Prompt, schema: dict[str, Any] | None) -> Generation:
        as_text = self._server.endpoint == "text"
        extra: dict[str, Any] = {"repetition_penalty": self._config.repetition_penalty}
        if not as_text:
            extra["return_token_ids"] = True
        if schema is not None:
            extra["structured_outputs"] = {"json": schema, "disable_any_whitespace": True}
        reply = await self._client.completions.create(
            model=self._model,
            prompt=self._tokenizer.decode(prompt.token_ids) if as_text else prompt.token_ids,
            max_tokens=self._config.max_new_tokens,
            temperature=self._config.temperature,
            top_p=self._config.top_p,
            extra_body=extra,
        )
        choice = reply.choices[0]
        ids = getattr(choice, "token_ids", None)
        # The ids where the server has them: its text may lack special tokens that the format needs.
        text = choice.text if ids is None else self._tokenizer.decode(ids, skip_special_tokens=True)
        return Generation(text, *self._usage(reply.usage, text))

    async def _chat(self, prompt: Prompt, schema: dict[str, Any] | None) -> Generation:
        options: dict[str, Any] = {}
        if schema is not None:
            wanted = {"name": "pairs", "schema": schema}
            options["response_format"] = {"type": "json_schema", "json_schema": wanted}
        reply = await self._client.chat.completions.create(
            model=self._model,
            messages=cast("Any", prompt.messages),
            max_tokens=self._config.max_new_tokens,
            temperature=self._config.temperature,
            top_p=self._config.top_p,
            **options,
        )
        text = reply.choices[0].message.content or ""
        return Generation(text, *self._usage(reply.usage, text))

    def _usage(self, usage: Any, text: str) -> tuple[int, int]:
        """Tokens written, and prompt tokens out of a cache, as far as the server says."""
        if usage is None:
            return len(self._tokenizer(text, add_special_tokens=False)["input_ids"]), 0
        details = usage.prompt_tokens_details
        return usage.completion_tokens, (details.cached_tokens or 0) if details else 0


def wait_for_server(config: SynthConfig) -> None:
    """Ask for the list of models until there is one; says so if that takes a while.

    Raises:
        InputError: the server refuses the key, or does not have the model.
        EngineDiedError: it has not answered after `start_timeout_s`.
    """
    import openai

    server, model = config.engine.openai, config.engine.openai.model or config.model
    deadline = time.monotonic() + config.engine.start_timeout_s
    client = openai.OpenAI(
        base_url=server.base_url, api_key=_key(server), max_retries=0, timeout=_PROBE_TIMEOUT_S
    )
    with client:
        for attempt in itertools.count():
            try:
                served = [entry.id for entry in client.models.list()]
            except openai.APIConnectionError as error:
                problem = f"{error} ({error.__cause__})"
            except openai.APIStatusError as error:
                if error.status_code in _CONFIG_WRONG:
                    raise _refused(server, error.status_code, redacted(error.message)) from error
                problem = redacted(error.message)
            else:
                break
            if time.monotonic() >= deadline:
                raise EngineDiedError(f"{server.base_url} does not answer: {problem}")
            if attempt == 0:
                print(f"synth   waiting for {server.base_url}: {problem}", flush=True)
            time.sleep(_PROBE_INTERVAL_S)
    if model not in served:
        raise InputError(
            f"synth.engine.openai.model {model!r}: {server.base_url} serves {', '.join(served[:5])}"
        )


def _wait_asked_for(headers: Mapping[str, str]) -> float:
    """Seconds after which a server wants to be asked again, spread so that not all come at once."""
    asked = headers.get("retry-after", "")
    wait_s = float(asked) if asked.replace(".", "", 1).isdigit() else _DEFAULT_WAIT_S
    return min(wait_s, _LONGEST_WAIT_S) * random.uniform(1.0, 1.25)


def _key(server: OpenAIConfig) -> str:
    return os.environ.get(server.api_key_env, "none")


def _refused(server: OpenAIConfig, status: int, said: str) -> InputError:
    return InputError(
        f"{server.base_url} answers with status {status}: {said}; look at synth.engine.openai "
        f"(base_url, model, and the key in ${server.api_key_env})"
    )

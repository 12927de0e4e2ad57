"""The fake engine: deterministic text without a model, from a process that can fail. For drills."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from synth.config import SynthConfig
from synth.engines.protocol import EngineDiedError, EngineLimits, Generation, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class FakeEngine:
    """Writes pairs about words of the prompt; see `synth.engines.fake_process`."""

    def __init__(self, config: SynthConfig, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Start the process, which takes a fraction of a second."""
        self.dtype = ""
        self.limits = EngineLimits(config.engine.max_num_seqs)
        self.last_sign_of_life_s = time.monotonic()
        self._tokenizer = tokenizer
        fake = config.engine.fake
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "synth.engines.fake_process"),
                *(str(fake.delay_s), json.dumps(fake.faults)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._waiting: dict[int, asyncio.Future[str]] = {}
        self._num_requests = 0
        self._opening: asyncio.Task[asyncio.WriteTransport] | None = None
        self._reader: asyncio.Task[None] | None = None

    async def generate(self, prompt: Prompt, schema: dict[str, Any] | None = None) -> Generation:
        """Have the process write a reply."""
        loop = asyncio.get_running_loop()
        if self._opening is None:
            self._opening = loop.create_task(self._open())
        requests = await asyncio.shield(self._opening)
        self._num_requests += 1
        number, reply = self._num_requests, loop.create_future()
        self._waiting[number] = reply
        text = self._tokenizer.decode(prompt.token_ids)
        try:
            if self._reader is None or self._reader.done():
                raise self._death()
            request = {"id": number, "prompt": text, "schema": schema}
            requests.write(json.dumps(request).encode() + b"\n")
            written = await reply
        finally:
            del self._waiting[number]
        ids = self._tokenizer(written, add_special_tokens=False)["input_ids"]
        return Generation(written, len(ids))

    def shutdown(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        if self._reader is not None and not self._reader.get_loop().is_closed():
            self._reader.get_loop().call_soon_threadsafe(self._reader.cancel)

    async def _open(self) -> asyncio.WriteTransport:
        """Connect the process's pipes to the running loop, which must never wait for them."""
        loop = asyncio.get_running_loop()
        stream = asyncio.StreamReader(limit=2**26)
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), self._process.stdout
        )
        requests, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, self._process.stdin)
        self._reader = loop.create_task(self._read_replies(stream))
        return requests

    async def _read_replies(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            self.last_sign_of_life_s = time.monotonic()
            reply = json.loads(line)
            if (waiting := self._waiting.get(reply["id"])) and not waiting.done():
                waiting.set_result(reply["text"])
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(self._death())

    def _death(self) -> EngineDiedError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1)
        return EngineDiedError(f"the engine's process ended with {self._process.returncode}")

"""The process of the fake engine: reads requests from standard input, writes replies.

    {"id": 7, "prompt": "... a text", "schema": null}  ──▶  {"id": 7, "text": "..."}

A process of its own, so that drills can kill, stop and starve what they would in a real engine.
"""

import asyncio
import hashlib
import json
import os
import random
import re
import resource
import signal
import sys
import time
from typing import Any

from pipeline.contracts import Pair
from synth.wire import format_pairs

_HOARD_BYTES = 2**26
_HOARD_LIMIT_BYTES = 2**30


def reply_to(prompt: str, schema: dict[str, Any] | None) -> str:
    """Pairs about words of the prompt's end; the same prompt gets the same reply.

    About one reply in twenty holds no pair.
    """
    seed = hashlib.blake2b(prompt.encode(), digest_size=8).digest()
    choice = random.Random(seed)
    words = re.findall(r"[A-Za-z]{4,}", prompt[-1000:]) or ["nothing"]
    if schema is not None:
        return json.dumps(fill(schema, choice, words))
    num_pairs = choice.choice([0, *[1, 2, 3, 4] * 5])
    picked = [choice.choice(words) for _ in range(num_pairs)]
    return format_pairs([Pair(f"Does the text speak of {word.lower()}?", word) for word in picked])


def fill(schema: dict[str, Any], choice: random.Random, words: list[str]) -> Any:
    """An instance of a JSON schema of `synth.styles.reply`, its strings made of `words`."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return choice.choice(schema["enum"])
    if schema["type"] == "object":
        return {name: fill(part, choice, words) for name, part in schema["properties"].items()}
    if schema["type"] == "array":
        items = schema.get("prefixItems") or [schema["items"]] * schema["maxItems"]
        return [fill(item, choice, words) for item in items]
    return " ".join(choice.choices(words, k=4)) + "?"


def suffer(fault: str) -> None:
    """Fail the way engines do."""
    if fault == "hang":
        time.sleep(1e6)
    if fault == "exhaust_memory":
        resource.setrlimit(resource.RLIMIT_AS, (_HOARD_LIMIT_BYTES, _HOARD_LIMIT_BYTES))
        hoard = []
        try:
            while True:
                hoard.append(bytearray(_HOARD_BYTES))
        except MemoryError:
            hoard.clear()
    os.kill(os.getpid(), signal.SIGKILL)  # `die`; and what the kernel does where memory ends


async def _answer(line: bytes, delay_s: float, faults: dict[str, str]) -> None:
    request = json.loads(line)
    await asyncio.sleep(delay_s)
    for marker, fault in faults.items():
        if marker in request["prompt"]:
            suffer(fault)
    reply = {"id": request["id"], "text": reply_to(request["prompt"], request["schema"])}
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


async def _serve(delay_s: float, faults: dict[str, str]) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    running: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        task = loop.create_task(_answer(line, delay_s, faults))
        running.add(task)
        task.add_done_callback(running.discard)


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]), json.loads(sys.argv[2])))

"""What an engine is to the rest of synthesis, and how it may fail."""

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked to continue."""

    token_ids: list[int]
    messages: tuple[dict[str, str], ...] = ()
    """The same as a conversation, for servers that take nothing else; empty: it is none."""

    def __len__(self) -> int:
        """Tokens of the prompt."""
        return len(self.token_ids)


@dataclass(frozen=True, slots=True)
class Generation:
    """What an engine wrote."""

    text: str
    num_tokens: int
    num_cached_tokens: int = 0
    """Tokens of the prompt that came out of the prefix cache."""


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How much an engine can have in work at once."""

    max_requests: int
    kv_cache_tokens: int | None = None
    """Tokens of all requests together that its KV cache holds; None: not known."""


class Engine(Protocol):
    """Turns prompts into continuations, many at a time."""

    dtype: str
    """Type that weights and activations have on this hardware; empty if there are none."""
    limits: EngineLimits
    """What it can have in work at once."""

    @property
    def last_sign_of_life_s(self) -> float:
        """When it last got on with its work, on the clock of `time.monotonic`."""
        ...

    async def generate(self, prompt: Prompt, schema: dict[str, Any] | None = None) -> Generation:
        """Continue one prompt, with the sampling of the stage's config.

        Args:
            prompt: the prompt.
            schema: JSON schema that the continuation has to follow; None: any text.

        Raises:
            EngineDiedError: the engine ended; the request may be asked again of another.
            RequestFailedError: this request cannot be answered; others are not concerned.
        """
        ...

    def shutdown(self) -> None:
        """Release the accelerator and end all processes of the engine."""
        ...


class EngineDiedError(Exception):
    """The engine ended, with all requests in it."""


class RequestFailedError(Exception):
    """A request that no engine will answer; says why."""

"""The records that stages hand to each other, as they stand in `*.jsonl.zst` shards.

    Document  --synth-->  Chain of shots (a document and its pairs)  --pack-->  rows

A change to any field here raises `CONTRACT_VERSION`, so that stages refuse each other's old shards.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from pipeline.errors import InputError

CONTRACT_VERSION = 3

PairKind = Literal["free_form", "multiple_choice", "chain_of_thought", "multiple_choice_cot"]

CONVERT, RAW = "convert", "raw"


def document_id(source: str, text: str) -> str:
    """Content id of a document: blake2b-128 of source and text, 32 hex digits."""
    digest = hashlib.blake2b(source.encode(), digest_size=16)
    digest.update(b"\0")
    digest.update(text.encode())
    return digest.hexdigest()


def chain_id(document_ids: list[str]) -> str:
    """Content id of a chain: blake2b-128 of its document ids in order, 32 hex digits."""
    return hashlib.blake2b("".join(document_ids).encode(), digest_size=16).hexdigest()


def stable_share(key: str, salt: str) -> float:
    """A number in [0, 1) that depends on `key` and `salt` alone, uniform over keys.

    A document whose share lies below a fraction belongs to that fraction, on every machine and in
    every order; raising the fraction only adds documents.
    """
    digest = hashlib.blake2b(key.encode(), key=salt.encode()[:64], digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def is_held_out(key: str, fraction: float) -> bool:
    """Whether an example is kept from training, by the key that stands for it.

    That is its content id; for task data, which may have a text in several sets, `text_key`.
    """
    return stable_share(key, "heldout") < fraction


def text_key(text: str) -> str:
    """Key of a text, whatever source it is from: blake2b-128, 32 hex digits."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Document:
    """One text to train on.

    `meta` holds strings only; `meta["route"]` is `convert` (goes through synthesis) or `raw`.
    """

    id: str
    source: str
    text: str
    meta: dict[str, str] = field(default_factory=dict)

    @property
    def is_converted(self) -> bool:
        """Whether this document goes through synthesis."""
        return self.meta.get("route") == CONVERT


@dataclass(frozen=True, slots=True)
class Pair:
    """One instruction and its response; `options` and `reasoning` as its kind has them."""

    instruction: str
    response: str
    kind: PairKind = "free_form"
    options: tuple[str, ...] = ()
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Shot:
    """One document of a chain, with the pairs written about it (none: it stays raw).

    `provenance` tells how these pairs were asked for: style, hash of the prompt, language.
    """

    doc_id: str
    text: str
    pairs: tuple[Pair, ...]
    provenance: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chain:
    """An M-shot example: up to M documents, each written about in sight of the ones before it."""

    id: str
    source: str
    shots: tuple[Shot, ...]
    provenance: dict[str, str]


SpanRole = Literal["instruction", "response"]


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` (exclusive) of a text that are an instruction or a response."""

    start: int
    end: int
    role: SpanRole
    kind: str = ""
    """Of the pair it belongs to."""


@dataclass(frozen=True, slots=True)
class RenderedText:
    """A text as a model reads it, and where its instructions and responses stand, in order."""

    text: str
    spans: tuple[Span, ...] = ()


def encode(record: Any) -> bytes:
    """One record as a line of JSON, line end included."""
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def decode_document(line: bytes) -> Document:
    """Read a `Document` from its line.

    Raises:
        InputError: the line is none; a shard may come from elsewhere.
    """
    try:
        document = Document(**orjson.loads(line))
        if not (isinstance(document.id, str) and isinstance(document.text, str)):
            raise TypeError("id and text must be strings")
    except (TypeError, ValueError) as error:
        raise _not_a("document", line, error) from error
    return document


def decode_chain(line: bytes) -> Chain:
    """Read a `Chain` from its line.

    Raises:
        InputError: the line is none.
    """
    try:
        values = orjson.loads(line)
        return Chain(**{**values, "shots": tuple(map(shot_of, values["shots"]))})
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise _not_a("chain", line, error) from error


def _not_a(kind: str, line: bytes, error: Exception) -> InputError:
    shown = line[:80].decode(errors="replace")
    return InputError(
        f"a shard holds {shown!r}, which is no {kind} of contract version {CONTRACT_VERSION} "
        f"({error!r:.200}); run the stage that writes it again"
    )


def shot_of(values: dict[str, Any]) -> Shot:
    """A `Shot` from its JSON object."""
    return Shot(**{**values, "pairs": tuple(map(pair_of, values["pairs"]))})


def pair_of(values: dict[str, Any]) -> Pair:
    """A `Pair` from its JSON object."""
    return Pair(**{**values, "options": tuple(values["options"])})

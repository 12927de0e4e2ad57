"""Settings of the ingest stage."""

import string
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config import StrictConfig
from pipeline.decontamination.config import DecontaminationConfig

_TEXT_FIELDS = ("text_field", "text_template")
_PAIR_FIELDS = ("question_field", "input_field", "response_field")


def _default_fraction(settings: dict[str, Any]) -> float:
    """Instructions are what synthesis makes, so they are not put through it."""
    return 0.0 if settings.get("kind") == "instructions" else 1.0


class DatasetConfig(StrictConfig):
    """A data set streamed through the `datasets` library."""

    path: str
    """Hub name, or local path or builder (`json`, `parquet`, ...)."""
    name: str | None = None
    """Configuration of the data set."""
    split: str = "train"
    """Split to stream."""
    revision: str = ""
    """Branch, tag or commit of a hub data set; empty: its default, which may move."""
    data_files: tuple[str, ...] = ()
    """Files for a builder such as `json`."""


class SourceConfig(StrictConfig):
    """One corpus and how its records become documents."""

    inputs: tuple[str, ...] = ()
    """Files, folders or globs, local or any fsspec URI, or `package://NAME/PATH`."""
    dataset: DatasetConfig | None = None
    """A data set to stream instead of `inputs`."""
    kind: Literal["text", "instructions"] = "text"
    """What a record is: a text, or general instructions with their responses, which become the
    text `{question} {response}` and always stay raw."""
    text_field: str = "text"
    """Field that holds the text; a `.txt` file has the field `text`."""
    text_template: str = ""
    """Build the text of several fields instead, e.g. `{question} {response}`."""
    question_field: str = "instruction"
    """Instructions: field of the question or instruction."""
    input_field: str = ""
    """Instructions: field of what a question is about, put on the line after it if there is any."""
    response_field: str = "output"
    """Instructions: field of the response."""
    messages_field: str = ""
    """Instructions: field of a whole conversation instead, a list of `{from, value}` or
    `{role, content}`; a system message goes on the line before the first question."""
    id_field: str = "id"
    """Field that holds the corpus's own id, kept in `meta`; a second record of an id is dropped.
    Empty: records have no ids of their own."""
    convert_fraction: float = Field(default_factory=_default_fraction, ge=0, le=1)
    """Share of documents that go through synthesis, chosen by a stable hash; the rest stay raw.
    Left out: 1 for texts, 0 for instructions."""
    split_chars: int = Field(default=0, ge=0)
    """Longest passage, in characters; longer texts are split at paragraph or sentence ends.
    0: never."""

    @field_validator("text_template")
    @classmethod
    def _plain_fields(cls, template: str) -> str:
        if template and not template_fields(template):
            raise ValueError("must name fields in braces, such as {question} {response}")
        parts = string.Formatter().parse(template)
        if any(spec or conversion for _, _, spec, conversion in parts) or not all(
            name.isidentifier() for name in template_fields(template)
        ):
            raise ValueError("may hold plain field names in braces only, such as {question}")
        return template

    @model_validator(mode="after")
    def _one_origin(self) -> "SourceConfig":
        if bool(self.inputs) == (self.dataset is not None):
            raise ValueError("give either inputs or dataset, and not both")
        return self

    @model_validator(mode="after")
    def _settings_of_its_kind(self) -> "SourceConfig":
        if self.kind == "text":
            if given := self._given((*_PAIR_FIELDS, "messages_field")):
                raise ValueError(f'{given} is for instructions; add kind = "instructions"')
            return self
        if self.convert_fraction or self.split_chars:
            raise ValueError(
                f"convert_fraction ({self.convert_fraction}) and split_chars ({self.split_chars}) "
                f"must be 0 with kind = instructions, which stay raw and whole; leave them out"
            )
        if given := self._given(_TEXT_FIELDS):
            raise ValueError(
                f"{given} is for texts; with kind = instructions name question_field and "
                f"response_field, or messages_field"
            )
        if self.messages_field and (given := self._given(_PAIR_FIELDS)):
            raise ValueError(f"give either messages_field or {given}, and not both")
        return self

    def _given(self, names: tuple[str, ...]) -> str:
        """Those of some settings that differ from their defaults, as a list for people."""
        fields = type(self).model_fields
        return ", ".join(name for name in names if getattr(self, name) != fields[name].default)


class IngestConfig(StrictConfig):
    """All corpora of a run."""

    sources: dict[str, SourceConfig] = Field(min_length=1)
    """Corpora by name; the name becomes each document's `source`."""
    docs_per_part: int = Field(default=4096, ge=1)
    """Documents of a part, the unit of commit and of all later work."""
    max_record_bytes: int = Field(default=32 * 2**20, ge=1024, le=2**27)
    """A longer record (line, row or text file), decompressed, is dropped as `too_long`; a line of
    64 times as much is taken for a damaged file."""
    decontamination: DecontaminationConfig = DecontaminationConfig()
    """Evaluation sets; a document that holds a piece of one is dropped as `contaminated`."""

    @model_validator(mode="after")
    def _plain_names(self) -> "IngestConfig":
        for name in self.sources:
            if name == "dropped":
                raise ValueError("source name 'dropped' is taken by the folder of dropped records")
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"source name {name!r} must be letters, digits, - and _ only")
        return self


def template_fields(template: str) -> list[str]:
    """Names of the fields in a text template.

    Raises:
        ValueError: unbalanced braces.
    """
    return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]

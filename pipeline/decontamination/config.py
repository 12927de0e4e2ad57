"""Settings of decontamination: which evaluation sets, and what counts as overlap."""

from typing import Any

from pydantic import Field

from pipeline.config import StrictConfig


class EvalSetConfig(StrictConfig):
    """One evaluation set, none of whose texts may be trained on."""

    path: str
    """File, folder or glob of `.jsonl` (`.gz`, `.zst`), `.json` or `.parquet` records, or a task
    file (`.yaml`) of lm-evaluation-harness. Local, any fsspec URI, or `package://NAME/PATH`."""
    fields: tuple[str, ...] = ()
    """Fields to protect, such as `question` or `choices.text`; empty: every string of a record,
    or what the templates of a task file show."""


class DecontaminationConfig(StrictConfig):
    """Evaluation sets and the overlap at which a text is dropped. No sets: nothing is checked."""

    sets: dict[str, EvalSetConfig] = Field(default_factory=dict)
    """Evaluation sets by name; the name is what dropped texts are counted under."""
    ngram: int = Field(default=13, ge=2)
    """Words of an n-gram; characters in scripts written without spaces. 13 is the practice of
    GPT-3 (Brown et al. 2020, appendix C)."""
    min_words: int = Field(default=8, ge=1)
    """An evaluation text shorter than `ngram` words is looked for as a whole if it has this many
    words, the least n that GPT-3 used; a shorter one is ignored and counted."""
    min_overlap: int = Field(default=1, ge=1)
    """Different n-grams of one set that a text must hold to be dropped. A short evaluation text,
    found as a whole, is always enough. One of `ngram` words and more that has fewer n-grams than
    this is not found: with 2, one of exactly `ngram` words."""
    common_share: float = Field(default=0.5, gt=0, le=1)
    """An n-gram in more than this share of a set's records, and in more than ten of them, is the
    set's fixed wording and no contamination; it is ignored and counted."""

    def content_fields(self) -> dict[str, Any]:
        """What decides which texts are dropped, beside the sets' content; not where these lie."""
        fields = self.model_dump()
        for evaluation_set in fields["sets"].values():
            del evaluation_set["path"]
        return fields

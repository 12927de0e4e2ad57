"""Settings of the quality checks: one section a check, each with its own switch."""

from typing import Literal

from pydantic import Field

from pipeline.config import StrictConfig


class LengthConfig(StrictConfig):
    """Pairs with a part that is too short or too long; two CJK characters count as one word."""

    enabled: bool = True
    """Whether this check runs."""
    min_instruction_words: int = Field(default=2, ge=0)
    """Fewest words of an instruction."""
    max_instruction_words: int = Field(default=200, ge=1)
    """Most words of an instruction, without its options."""
    min_response_words: int = Field(default=1, ge=0)
    """Fewest words of a response; a response of signs alone has none."""
    max_response_words: int = Field(default=400, ge=1)
    """Most words of a response."""
    min_reasoning_words: int = Field(default=4, ge=0)
    """Fewest words of a reasoning, for the kinds that have one."""
    max_reasoning_words: int = Field(default=400, ge=1)
    """Most words of a reasoning."""
    max_chars_per_word: float = Field(default=40.0, gt=1)
    """Most characters a word of any part on average: beyond lies encoded data, not language."""


class RepetitionConfig(StrictConfig):
    """Generation that fell into a loop."""

    enabled: bool = True
    """Whether this check runs."""
    max_consecutive: int = Field(default=4, ge=2)
    """Most times that a phrase may stand directly after itself, counting the first."""
    max_phrase_words: int = Field(default=20, ge=1)
    """Longest phrase looked at for `max_consecutive`, in words (CJK: characters)."""
    max_repeated_share: float = Field(default=0.4, gt=0, le=1)
    """Largest share of 4-word sequences that occur earlier in the same part."""
    min_words: int = Field(default=16, ge=4)
    """Parts shorter than this many words are not judged by `max_repeated_share`."""
    max_same_character: int = Field(default=8, ge=2)
    """Most times that one letter or one of `!?,;:` may follow itself, counting the first."""


class PhrasesConfig(StrictConfig):
    """Refusals, talk about the task, placeholders, missing gaps, markup: table `phrases.toml`."""

    enabled: bool = True
    """Whether this check runs."""
    allow: tuple[str, ...] = ()
    """Reasons of the table to let through, for example `["not_in_text"]`."""


class EchoConfig(StrictConfig):
    """Pairs that repeat the prompt's examples, and responses that repeat their instruction."""

    enabled: bool = True
    """Whether this check runs."""
    max_similarity: float = Field(default=0.9, gt=0, le=1)
    """Jaccard similarity of word sequences at which a pair is an echo of an example."""


class LanguageConfig(StrictConfig):
    """Pairs in another language or script than their text."""

    enabled: bool = True
    """Whether this check runs."""
    min_chars: int = Field(default=40, ge=1)
    """Shorter texts, instructions and responses are not judged by language."""
    min_confidence: float = Field(default=0.9, gt=0, le=1)
    """Normalised probability that the identifier must give both languages, pair's and text's."""
    min_script_letters: int = Field(default=8, ge=1)
    """Letters a part needs to be judged by its script."""


class GroundingConfig(StrictConfig):
    """Responses that the text does not support."""

    enabled: bool = True
    """Whether this check runs."""
    min_support: float = Field(default=0.6, ge=0, le=1)
    """Smallest share of a response's content words that occur in the text."""
    min_label_support: float = Field(default=0.3, ge=0, le=1)
    """The same share, of the instruction or reasoning, where the response is a label."""
    numbers: bool = True
    """Whether each number of a response must occur in the text."""

    def lowered_to(self, min_support: float | None) -> "GroundingConfig":
        """These settings with `min_support` at most as large as given; None: as they are."""
        if min_support is None or min_support >= self.min_support:
            return self
        return self.model_copy(update={"min_support": min_support})


class DuplicatesConfig(StrictConfig):
    """Questions of one text that ask the same."""

    enabled: bool = True
    """Whether this check runs."""
    max_similarity: float = Field(default=0.8, gt=0, le=1)
    """Jaccard similarity of word sequences from which two questions are the same one."""
    max_overlap_same_response: float = Field(default=0.8, gt=0)
    """Share of the shorter question's word sequences found in the other from which two questions
    with the same response are the same one; above 1: off."""


class ScorerConfig(StrictConfig):
    """A sequence classifier as judge of pairs."""

    model: str
    """Model folder or hub name of a Hugging Face sequence classifier with safetensors weights."""
    revision: str = ""
    """Branch, tag or commit of a hub model; empty: its default."""
    label: int | Literal["regression"] = "regression"
    """Index of the good label (the score is its probability), or `regression`: the one output."""
    min_score: float = 0.5
    """Smallest score of a pair that stays."""
    with_text: bool = False
    """Whether the classifier also sees the text, after instruction and response."""
    max_length: int = Field(default=512, ge=8)
    """Tokens of an input; longer ones are cut at their end."""
    batch_size: int = Field(default=32, ge=1)
    """Pairs scored at once."""
    device: str = "cpu"
    """Torch device, for example `cpu` or `cuda:0`."""


class RoundTripConfig(StrictConfig):
    """Asks the synthesizer's engine each question again and compares the answers."""

    enabled: bool = False
    """Whether the answers are asked for a second time; costs about as much as synthesis."""
    min_f1: float = Field(default=0.5, ge=0, le=1)
    """Smallest token F1 between both answers, after SQuAD's normalisation."""


class ChecksConfig(StrictConfig):
    """All checks of a text's pairs, in the order in which they run.

    `[synth.checks.grounding] enabled = false` switches one off; `[synth.checks.scorer]` with a
    `model` switches the scorer on.
    """

    length: LengthConfig = LengthConfig()
    """Too short, too long."""
    repetition: RepetitionConfig = RepetitionConfig()
    """Loops."""
    phrases: PhrasesConfig = PhrasesConfig()
    """Refusals, meta talk, placeholders, missing gaps, markup."""
    echo: EchoConfig = EchoConfig()
    """Repeats the prompt or the question."""
    language: LanguageConfig = LanguageConfig()
    """Another language than the text's."""
    grounding: GroundingConfig = GroundingConfig()
    """Not supported by the text."""
    duplicates: DuplicatesConfig = DuplicatesConfig()
    """The same question twice."""
    scorer: ScorerConfig | None = None
    """A model's judgement of what the other checks leave; none by default."""
    round_trip: RoundTripConfig = RoundTripConfig()
    """Asking again; needs an engine, so the caller runs it (`quality.agreement`)."""


class CorpusDedupConfig(StrictConfig):
    """Near-duplicate pairs across a corpus (MinHash with banding)."""

    enabled: bool = True
    """Whether pairs are deduplicated across the corpus."""
    threshold: float = Field(default=0.7, gt=0, lt=1)
    """Jaccard similarity of word shingles, of the instructions times that of the responses, around
    which pairs begin to count as duplicates."""
    num_perm: int = Field(default=128, ge=16, le=512)
    """Hash functions of a signature: more separate the two sides of the threshold better."""
    shingle_words: int = Field(default=2, ge=1, le=8)
    """Words of a shingle (CJK: characters)."""
    with_response: bool = True
    """Compare the responses too, so that a general question asked of many texts stays wherever its
    answer differs; false: the instructions alone."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the hash functions."""

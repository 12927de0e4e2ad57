"""What a config and a budget of training tokens ask of each stage, before any rate comes in.

    tokens to train on ─▶ rows of each route by the mixture ─▶ documents, raw and converted
                                                              ─▶ prompts and replies ─▶ bytes
                       ─▶ steps ─▶ FLOPs

Every token is trained on once: no text is repeated. Where the share that is converted
(`convert_fraction`) and the share that the mixture takes do not go together, some of what is made
is left over, and counted: it has to be made all the same.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from launch.config import PipelineConfig
from launch.planning.rates import RateReader, Rates
from launch.planning.shape import ModelSize, trained_model
from pipeline.errors import InputError
from pipeline.ingest.config import SourceConfig
from pipeline.mixture import rules
from synth.config import SynthConfig

_MODELLED = ("explicit", "ratio", "proportional")


@dataclass(frozen=True)
class Sizes:
    """What the user says in place of the table and the config."""

    document_tokens: float | None = None
    """Mean tokens of a document."""
    documents: int | None = None
    """Documents of the corpus, all of which go through; None: as many as the tokens need."""
    parameters: float | None = None
    """Of the model that is trained."""

    def __post_init__(self) -> None:
        """Refuse what is no size.

        Raises:
            InputError: names the value, the rule and what to give.
        """
        for option, value in (
            ("document-tokens", self.document_tokens),
            ("documents", self.documents),
        ):
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"--{option} ({value:g}) must be above 0; give another number")


@dataclass(frozen=True)
class Demand:
    """The work of a run. Counts are floats: they are means, and may be large."""

    train_tokens: float
    documents: float
    converted: float
    """Documents that go through synthesis."""
    document_tokens: float
    """Mean of a document."""
    prompt_tokens: float
    """Of all prompts, those out of the prefix cache among them."""
    output_tokens: float
    packed_tokens: float
    parts: float
    """Parts that hold documents to convert."""
    augmented_tokens: float
    pairs: float
    """Of all converted documents."""
    steps: float
    step_rows: int
    seq_len: int
    model: ModelSize
    bytes_by_folder: Mapping[str, float]

    @property
    def text_tokens(self) -> float:
        """Of all documents."""
        return self.documents * self.document_tokens

    @property
    def flops(self) -> float:
        """Of training, as whole rows count (`train.flops`)."""
        pairs = self.train_tokens * (self.seq_len + 1) / 2
        return self.model.flops.of(self.train_tokens, pairs)


def demand_of(
    config: PipelineConfig, tokens: float, rates: Rates, reader: RateReader, sizes: Sizes
) -> Demand:
    """What a run of a config asks for.

    Args:
        config: the run.
        tokens: to train on, in place of `train.num_steps`.
        rates: the table, or a run's.
        reader: notes what is taken out of it.
        sizes: what the user says.

    Raises:
        InputError: nothing says how large the model is.
    """
    document = _document_tokens(config, reader, sizes)
    pairs = reader("text.pair_tokens_per_document")
    documents, converted = _documents(config, tokens, document, document + pairs, reader, sizes)
    replies = _reply_tokens(config.synth, reader)
    packed = (documents - converted) * document + converted * (document + pairs)
    parts = math.ceil(documents / config.ingest.docs_per_part) if converted else 0
    seq_len, train = config.pack.seq_len, config.train
    model = trained_model(train, config.pack.tokenizer, seq_len, rates, reader, sizes.parameters)
    steps = max(1.0, tokens / (train.rows_per_batch * seq_len))
    augmented = converted * (document + pairs)
    kept = train.keep_checkpoints + (steps // train.keep_every if train.keep_every else 0)
    kept = min(kept, math.ceil(steps / train.checkpoint_every))
    per_parameter = reader("train.checkpoint_bytes_per_parameter")
    trained_bytes = 4 if config.export.dtype == "float32" else 2
    return Demand(
        train_tokens=tokens,
        documents=documents,
        converted=converted,
        document_tokens=document,
        prompt_tokens=converted * _prompt_tokens(config.synth, document, pairs),
        output_tokens=converted * replies,
        packed_tokens=packed,
        parts=min(parts, converted),
        augmented_tokens=augmented,
        pairs=converted * reader("text.pairs_per_document"),
        steps=steps,
        step_rows=train.rows_per_batch,
        seq_len=seq_len,
        model=model,
        bytes_by_folder={
            "documents": documents * document * reader("text.document_bytes_per_token"),
            "augmented": augmented * reader("text.augmented_bytes_per_token"),
            "filtered": augmented * reader("text.filtered_bytes_per_token"),
            "rows": packed * reader("text.row_bytes_per_token"),
            "checkpoints": kept * model.parameters * per_parameter,
            "hf": model.parameters * trained_bytes,
        },
    )


def _document_tokens(config: PipelineConfig, reader: RateReader, sizes: Sizes) -> float:
    """Mean tokens of a document, no longer than a passage may be."""
    if sizes.document_tokens is not None:
        return sizes.document_tokens
    mean = reader("text.document_tokens")
    longest = [source.split_chars for source in config.ingest.sources.values()]
    if all(longest) and not reader.rate("text.document_tokens").is_own:
        mean = min(mean, max(longest) / reader("text.bytes_per_token"))
    return mean


def _documents(
    config: PipelineConfig,
    tokens: float,
    raw_tokens: float,
    augmented_tokens: float,
    reader: RateReader,
    sizes: Sizes,
) -> tuple[float, float]:
    """Documents of all sources together, and those of them that are converted."""
    sources = config.ingest.sources
    if sizes.documents is not None:
        of_each = sizes.documents / len(sources)
        return float(sizes.documents), sum(s.convert_fraction * of_each for s in sources.values())
    shares = _shares_of_routes(config, raw_tokens, augmented_tokens, reader)
    documents = converted = 0.0
    for name, source in sources.items():
        needed = max(
            shares.get(f"{name}-{route}", 0.0) * tokens / (size * fraction)
            for route, size, fraction in _routes(source, raw_tokens, augmented_tokens)
        )
        documents += needed
        converted += needed * source.convert_fraction
    return documents, converted


def _routes(
    source: SourceConfig, raw_tokens: float, augmented_tokens: float
) -> list[tuple[str, float, float]]:
    """Name, tokens a document and share of documents of each route that a source has."""
    fraction = source.convert_fraction
    routes = [("raw", raw_tokens, 1 - fraction), ("augmented", augmented_tokens, fraction)]
    return [route for route in routes if route[2] > 0]


def _shares_of_routes(
    config: PipelineConfig, raw_tokens: float, augmented_tokens: float, reader: RateReader
) -> dict[str, float]:
    """Share of the trained tokens by row source; corpora count as equally large."""
    sizes = {
        f"{name}-{route}": tokens * fraction
        for name, source in config.ingest.sources.items()
        for route, tokens, fraction in _routes(source, raw_tokens, augmented_tokens)
    }
    names, rows = list(sizes), np.array(list(sizes.values()))
    mixture = config.mixture
    rule = mixture.rule_in_use()
    if len(config.ingest.sources) > 1 and rule != "explicit":
        reader.assume("the corpora have as many documents each")
    if mixture.phases or mixture.high_resource_first or rule not in _MODELLED:
        reader.assume(f"rows are mixed in proportion, and not: {mixture.describe()}")
        rule = "proportional"
    if rule == "explicit":
        shares = np.array([mixture.weights.get(name, 0.0) for name in names])
        shares = shares / shares.sum()
    else:
        rows = rules.repeated(names, rows, mixture.repeat)
        if rule == "ratio":
            shares = rules.ratio(names, rows, mixture.ratio)
        else:
            shares = rules.proportional(rows)
    return dict(zip(names, shares.tolist(), strict=True))


def _reply_tokens(config: SynthConfig, reader: RateReader) -> float:
    if config.protocol == "rules":
        return 0.0
    return min(reader("text.output_tokens_per_document"), config.max_new_tokens * config.attempts)


def _prompt_tokens(config: SynthConfig, document: float, pairs: float) -> float:
    """Mean of a prompt: a document in sight of those before it in its chain."""
    if config.protocol == "rules":
        return 0.0
    room = config.max_model_len - config.max_new_tokens
    of_rounds = [
        min(room, document + before * (document + pairs))
        for before in range(config.shots_per_chain)
    ]
    return sum(of_rounds) / len(of_rounds)

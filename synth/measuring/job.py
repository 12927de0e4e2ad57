"""Several synthesizers on the same held-out texts, one after the other; replies are kept.

A model whose replies are all kept is not loaded. A kill costs the measurement under way: one model
with one number of shots. So does a request that failed: such replies are measured and not kept.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.contracts import Pair
from pipeline.errors import InputError, JobFailedError
from pipeline.kept import KeptRecords, find_model, model_key
from pipeline.process import ProcessFamily
from pipeline.progress import StageProgress
from synth.config import SynthConfig
from synth.engines.choosing import make_engine
from synth.engines.supervision import SupervisedEngine
from synth.measuring.config import TuneEvalConfig
from synth.measuring.held_out import HeldOutText
from synth.measuring.measures import Measures, measure, read_replies
from synth.measuring.quiet import libraries_write_to
from synth.measuring.replies import Replies, ask, prompts_key, replies_of
from synth.protocols import load_synthesizer_tokenizer, make_protocol

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Measurement:
    """One synthesizer with one number of earlier examples in the prompt."""

    model: str
    """As it was named."""
    shots: int
    measures: Measures
    pairs: tuple[tuple[Pair, ...], ...]
    """What it wrote about each text."""


@dataclass(frozen=True)
class TuneEvalResults:
    """All measurements: by shots, then models in the order they were named."""

    texts: tuple[HeldOutText, ...]
    measurements: tuple[Measurement, ...]

    def as_json(self) -> dict[str, Any]:
        """The measures, without texts and pairs, as JSON-like values."""
        return {
            "texts": len(self.texts),
            "sources": sorted({text.source for text in self.texts}),
            "measurements": [
                {"model": one.model, "shots": one.shots, **one.measures.as_json()}
                for one in self.measurements
            ],
        }


def measure_synthesizers(
    config: TuneEvalConfig,
    texts: Sequence[HeldOutText],
    references: Sequence[str],
    folder: str,
) -> TuneEvalResults:
    """Have each synthesizer write about each text, and measure what it wrote.

    Numbers of shots above 0 are left out where no text has an earlier example.

    Args:
        config: how they are asked.
        texts: what they write about (`synth.measuring.held_out`), the texts of a data set together.
        references: Hugging Face folders, hub names, GGUF files, such as before and after tuning.
        folder: local folder for kept replies and the engine's log.

    Raises:
        InputError: no text; one of the models is not there, before any is asked, or cannot be used.
        JobFailedError: an engine does not start, or dies of every request.
    """
    all_shots = _usable_shots(config, texts)
    models = {reference: find_model(reference) for reference in references}
    kept = KeptRecords(f"{folder}/replies")
    written = {
        reference: _replies_by_shots(config, texts, model, all_shots, kept, folder)
        for reference, model in models.items()
    }
    measurements = []
    for shots in all_shots:
        for reference in models:
            replies = written[reference][shots]
            measures = measure(texts, replies, config.max_new_tokens)
            pairs = tuple(tuple(parsed.pairs) for parsed in read_replies(replies))
            measurements.append(Measurement(reference, shots, measures, pairs))
    return TuneEvalResults(tuple(texts), tuple(measurements))


def _usable_shots(config: TuneEvalConfig, texts: Sequence[HeldOutText]) -> list[int]:
    if not texts:
        raise InputError("no text to measure synthesizers on; give held-out texts")
    has_examples = any(text.earlier for text in texts)
    usable = [shots for shots in config.shots if not shots or has_examples]
    if not usable:
        raise InputError(
            f"shots {list(config.shots)} need earlier examples, and no text has one with gold "
            f"pairs; set shots=[0]"
        )
    return usable


def _replies_by_shots(
    config: TuneEvalConfig,
    texts: Sequence[HeldOutText],
    model: str,
    all_shots: Sequence[int],
    kept: KeptRecords,
    folder: str,
) -> dict[int, Replies]:
    """One model's replies; what is missing is asked for and kept."""
    settings = {"model": model_key(model), **config.content_fields()}
    identities = {
        shots: {**settings, "shots": shots, "prompts": prompts_key(texts, shots)}
        for shots in all_shots
    }
    found = {shots: kept.find(identity) for shots, identity in identities.items()}
    replies = {shots: replies_of(record) for shots, record in found.items() if record}
    missing = {shots: identities[shots] for shots in all_shots if shots not in replies}
    if missing:
        replies |= asyncio.run(_ask_all(config, texts, model, missing, kept, folder))
    return replies


async def _ask_all(
    config: TuneEvalConfig,
    texts: Sequence[HeldOutText],
    model: str,
    missing: Mapping[int, Mapping[str, Any]],
    kept: KeptRecords,
    folder: str,
) -> dict[int, Replies]:
    """Start the engine once and ask everything that is missing, by shots."""
    synth_config = config.synth_config(model)
    tokenizer = load_synthesizer_tokenizer(synth_config)
    protocol = make_protocol(synth_config, tokenizer)
    prompt_budget = config.max_model_len - config.max_new_tokens
    replies: dict[int, Replies] = {}
    num_done = num_tokens = 0
    with (
        _engine(synth_config, tokenizer, f"{folder}/engine.log") as engine,
        StageProgress("tune-eval", "texts", len(missing) * len(texts)) as progress,
    ):

        def note(tokens: int) -> None:
            nonlocal num_done, num_tokens
            num_done, num_tokens = num_done + 1, num_tokens + tokens
            progress.update(num_done, tokens=num_tokens)

        for shots, identity in missing.items():
            replies[shots] = await ask(engine, protocol, texts, shots, prompt_budget, note)
            if all(reply is not None for reply in replies[shots]):  # else it is asked again
                kept.keep(identity, replies[shots].as_json())
    return replies


@contextlib.contextmanager
def _engine(
    config: SynthConfig, tokenizer: "PreTrainedTokenizerBase", log: str
) -> Iterator[SupervisedEngine]:
    """An engine of this process, gone with all its processes when the block ends."""
    with libraries_write_to(log), contextlib.ExitStack() as stack:
        family = ProcessFamily()
        stack.callback(family.close)
        try:
            engine = make_engine(config, tokenizer, family)
        except InputError:
            raise
        except (RuntimeError, ValueError, OSError) as error:
            said = str(error).strip().partition("\n")[0]
            raise JobFailedError(
                f"the engine does not start with {config.model}: {said}; see {log}"
            ) from error
        stack.callback(engine.shutdown)
        yield engine

"""The head of the page: what made this corpus, the key figures, how far each stage is."""

from collections.abc import Iterator
from dataclasses import dataclass

from launch.report.figures import RunFigures
from launch.report.wording import compact, loss_text, percent, plain, rate, share_of

_PROVENANCE = (
    ("synthesizer", "synthesizer"),
    ("revision", "revision"),
    ("wire_format", "protocol"),
    ("sampling", "sampling"),
    ("dtype", "engine's dtype"),
    ("code_version", "code version"),
)
_CONFIGURED = (
    ("model", "synthesizer"),
    ("revision", "revision"),
    ("protocol", "protocol"),
    ("temperature", "temperature"),
)


@dataclass(frozen=True)
class Tile:
    """One key figure."""

    value: str
    label: str
    note: str


def facts(run: RunFigures) -> list[tuple[str, str]]:
    """What made the pairs: from the chains, else from the settings of synthesis."""
    found = [("run", run.path)]
    if run.corpus is not None:
        known = run.corpus.provenance
        labelled = [(label, known.get(name, ())) for name, label in _PROVENANCE]
        known_names = {name for name, _ in _PROVENANCE}
        labelled += [(plain(name), known[name]) for name in sorted(known.keys() - known_names)]
        found += [(label, ", ".join(filter(None, values))) for label, values in labelled]
    else:
        config = run.stages["synth"].config
        found += [(label, str(config.get(name, ""))) for name, label in _CONFIGURED]
    return [(label, value) for label, value in found if value]


def tiles(run: RunFigures) -> list[Tile]:
    """The key figures that the run has so far."""
    return [*_document_tiles(run), *_pair_tiles(run), *_training_tiles(run)]


def _document_tiles(run: RunFigures) -> Iterator[Tile]:
    ingest = run.stages["ingest"]
    if ingest.parts:
        convert, raw = ingest.counts["convert"], ingest.counts["raw"]
        note = f"{compact(convert)} to write pairs about, {compact(raw)} raw"
        yield Tile(compact(ingest.records_out), "documents", note)


def _pair_tiles(run: RunFigures) -> Iterator[Tile]:
    synth, last = run.stages["synth"], run.stages["synth"]
    if not synth.parts:
        return
    if run.stages["filter"].is_complete:
        last = run.stages["filter"]
    pairs, documents = last.counts["pairs"], last.records_out
    with_pair = documents - last.counts["documents_without_pair"]
    written = synth.counts["pairs"] + synth.below("pairs_dropped").total()
    yield Tile(
        compact(pairs), "pairs", f"{share_of(pairs, with_pair):.1f} for each text that has any"
    )
    yield Tile(
        percent(share_of(with_pair, documents)),
        "of texts have pairs",
        f"{compact(documents - with_pair)} of {compact(documents)} stay raw",
    )
    yield Tile(
        percent(share_of(written - pairs, written)),
        "of pairs dropped",
        f"{compact(written - pairs)} of {compact(written)} written",
    )
    if tokens := synth.counts["output_tokens"]:
        note = f"from {compact(synth.counts['prompt_tokens'])} prompt tokens"
        yield Tile(compact(tokens), "tokens synthesized", note)
    if speed := run.speed.mean_per_s("done"):
        tokens_per_s = run.speed.mean_per_s("output_tokens") or 0
        note = f"{rate(tokens_per_s)} output tokens/s" if tokens_per_s else "mean"
        yield Tile(rate(speed), "documents/s in synthesis", note)


def _training_tiles(run: RunFigures) -> Iterator[Tile]:
    pack, training = run.stages["pack"], run.training
    if tokens := pack.counts["tokens"]:
        padding = pack.counts["padding"]
        share = percent(share_of(padding, tokens + padding))
        yield Tile(compact(tokens), "tokens packed", f"{share} padding")
    if training.num_steps:
        losses, speeds = training.series["loss"], training.series["perf/tokens_per_s"]
        note = f"at step {training.steps[-1]:,}; {loss_text(losses[0])} at the start"
        yield Tile(loss_text(losses[-1]), "training loss", note)
        known = sorted(speed for speed in speeds if speed is not None)
        if known:
            yield Tile(compact(known[len(known) // 2]), "tokens/s in training", "median")
    loss = training.heldout_loss()
    if loss is not None:
        num_sources = len(training.heldout)
        note = f"over the tokens of {num_sources} source{'s' if num_sources > 1 else ''}"
        yield Tile(loss_text(loss), "held-out loss", note)

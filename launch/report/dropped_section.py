"""What was kept and what was dropped at each stage, and why."""

from collections.abc import Iterator, Mapping

from launch.report import charts
from launch.report.charts import Chart, Series
from launch.report.dropped import DroppedRecord
from launch.report.figures import RunFigures
from launch.report.sampling import FewestHash
from launch.report.sections import ReasonView, Section, not_there_yet
from launch.report.wording import plain

# Not kept anywhere, only counted.
_FRAGMENTS = "Fragments of replies that are no pairs"


def dropped_section(run: RunFigures) -> Section:
    """Funnels, and for each stage its reasons with examples."""
    groups = {title: reasons for title, reasons in _groups(run).items() if reasons}
    reason_charts = [
        charts.ranking(
            f"dropped-{number}",
            title,
            [Series("dropped", {plain(reason.reason): reason.count for reason in reasons})],
            title.partition(" ")[0].lower(),
        )
        for number, (title, reasons) in enumerate(groups.items())
    ]
    missing = ""
    if not run.stages["synth"].parts:
        missing = not_there_yet(run, "synth")
    elif not run.stages["filter"].is_complete:
        missing = not_there_yet(run, "filter")
    return Section(
        "dropped",
        "Kept and dropped",
        intro="Every record and every pair is counted as kept or dropped, over all committed "
        "parts. Examples come from the documents that this page has read.",
        missing=missing,
        charts=[*_document_funnel(run), *_pair_funnel(run), *reason_charts],
        reasons={title: reasons for title, reasons in groups.items() if title != _FRAGMENTS},
    )


def _groups(run: RunFigures) -> dict[str, list[ReasonView]]:
    """Reasons by what was dropped; the first word of each title is the unit of its counts."""
    ingest, synth, filtered = (run.stages[name] for name in ("ingest", "synth", "filter"))
    pairs = run.corpus.dropped if run.corpus is not None else {}
    by_stage = {name: examples.by_reason for name, examples in pairs.items()}
    return {
        "Records dropped by ingest": _ranked(ingest.dropped, run.dropped_records.by_reason),
        _FRAGMENTS: _ranked(synth.below("fragments_dropped"), {}),
        "Pairs dropped by synthesis": _ranked(
            synth.below("pairs_dropped"), by_stage.get("synth", {})
        ),
        "Pairs dropped by the filter stage": _ranked(
            filtered.below("pairs_dropped"), by_stage.get("filter", {})
        ),
    }


def _ranked(
    counts: Mapping[str, int], examples: Mapping[str, FewestHash[DroppedRecord]]
) -> list[ReasonView]:
    return [
        ReasonView(reason, count, list(examples.get(reason, ())))
        for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if count
    ]


def _document_funnel(run: RunFigures) -> Iterator[Chart]:
    ingest, synth, filtered = (run.stages[name] for name in ("ingest", "synth", "filter"))
    if not ingest.parts:
        return
    documents: dict[str, float] = {
        "records and passages read": ingest.records_in,
        "documents kept": ingest.records_out,
        "to write pairs about": ingest.counts["convert"],
    }
    if synth.parts:
        last = filtered if filtered.is_complete else synth
        documents["with pairs"] = last.records_out - last.counts["documents_without_pair"]
    yield charts.ranking(
        "funnel-documents",
        "From records to texts with pairs",
        [Series("documents", documents)],
        "documents",
    )


def _pair_funnel(run: RunFigures) -> Iterator[Chart]:
    synth, filtered = run.stages["synth"], run.stages["filter"]
    if not synth.parts:
        return
    kept = synth.counts["pairs"]
    pairs: dict[str, float] = {
        "pairs read from replies": kept + synth.below("pairs_dropped").total(),
        "kept by synthesis": kept,
    }
    if filtered.is_complete:
        pairs["kept by the filter stage"] = filtered.counts["pairs"]
    yield charts.ranking(
        "funnel-pairs", "From pairs written to pairs kept", [Series("pairs", pairs)], "pairs"
    )

"""The report gathers exactly what the shards hold, and shows texts as texts."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app
from launch.rendering import Layouts
from launch.report import charts
from launch.report.examples import Segment, segments
from launch.report.figures import gather_run
from launch.report.overview import facts, tiles
from launch.report.page import render_page, write_report
from launch.report.sampling import FewestHash, choose_parts
from launch.report.sections import side_by_side
from launch.report.speed import gather_speed
from pipeline.contracts import Pair, RenderedText, Span
from pipeline.errors import InputError
from pipeline.run_folder import RunFolder
from tests.report_runs import Written, write_run

HOSTILE = "<script>alert(1)</script> </script><img src=x onerror=alert(2)> {{ 7 * 7 }} &lt;"
CHOICE = Pair("Which of these ruled?", "Anna", "multiple_choice", ("Anna", "Bert"))
REASONED = Pair("Who came first?", "Bert", "chain_of_thought", (), "Bert came in 1700, Anna later.")


def plain_pair(number: int) -> Pair:
    return Pair(f"Who ruled the land in {1700 + number}?", "Anna ruled the land")


PARTS = [
    [
        Written("Anna ruled the land of the north.", (plain_pair(0), CHOICE)),
        Written("Bert came in 1700, Anna ruled the land later.", (REASONED,), style="step_by_step"),
        Written(
            "Nobody knows.",
            dropped=((Pair("Why is that so?", "I cannot say."), "refusal"),),
        ),
        Written(
            f"Anna ruled the land {HOSTILE}",
            (Pair(f"What is {HOSTILE}?", HOSTILE),),
            dropped=((Pair(HOSTILE, HOSTILE), "ungrounded"),),
            filtered=((plain_pair(1), "near_duplicate_in_corpus"),),
        ),
    ],
    [Written("The bank of the north held gold.", (plain_pair(2), plain_pair(3), plain_pair(4)))],
]
BAD_RECORDS = [("empty_text", '{"text": ""}'), ("duplicate", HOSTILE), ("duplicate", "again")]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return write_run(tmp_path / "run", PARTS, bad_records=BAD_RECORDS)


class Page(HTMLParser):
    """Elements and visible text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.scripts: list[dict[str, str | None]] = []
        self.loads: list[str] = []
        self.text: list[str] = []
        self.data: list[str] = []
        self._script: dict[str, str | None] | None = None
        self.tags: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = dict(attrs)
        self.loads += [f"{tag} {values[name]}" for name in ("src", "data") if values.get(name)]
        if not (values.get("href") or "#").startswith("#"):
            self.loads.append(f"{tag} {values['href']}")
        if tag == "script":
            self._script = values
            self.scripts.append(values)

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.text.append(data)
        elif self._script.get("type") == "application/json":
            self.data.append(data)

    def shows(self, text: str) -> bool:
        return text in "".join(self.text)


def test_figures_are_those_of_the_shards(folder: RunFolder) -> None:
    run = gather_run(folder, 100)
    ingest, synth, filtered = (run.stages[name] for name in ("ingest", "synth", "filter"))
    assert (ingest.records_in, ingest.records_out) == (8, 5)
    assert ingest.dropped == {"empty_text": 1, "duplicate": 2}
    assert synth.below("pairs_dropped") == {"refusal": 1, "ungrounded": 1}
    assert synth.below("fragments_dropped") == {"unclosed_pair": 2}
    assert filtered.below("pairs_dropped") == {"near_duplicate_in_corpus": 1}
    corpus = run.corpus
    assert corpus is not None
    assert (corpus.stage, corpus.num_documents, corpus.num_documents_of) == ("filter", 5, 5)
    assert corpus.metrics["pairs"] == 7
    assert corpus.metrics["documents_with_pair"] == 4
    assert corpus.metrics["pairs_per_document"] == {"0": 1, "1": 2, "2": 1, "3": 1}
    assert corpus.metrics["kinds"] == {"free_form": 5, "chain_of_thought": 1, "multiple_choice": 1}
    assert corpus.style_pairs == {"faq": 6, "step_by_step": 1}
    assert corpus.dropped["synth"].pairs_by_style == {"faq": 2}
    assert corpus.dropped["filter"].pairs_by_style == {"faq": 1}
    # Documents 1 and 2 are one chain; 3 has no pair, so 4 stands alone, as does 5.
    assert corpus.shots_per_chain == {1: 2, 2: 1}
    assert corpus.text_words["0-15"] + corpus.text_words["16-31"] == 5
    assert [len(chain.shots) for chain in corpus.examples] == [2, 1, 1]
    assert dict(facts(run)) == {
        "run": str(folder.root),
        "synthesizer": "fake",
        "protocol": "chat",
        "sampling": "temperature=0.7",
        "code version": "0.1.0",
    }
    assert run.layouts == Layouts(3)


def test_tiles_say_what_the_run_has(folder: RunFolder) -> None:
    found = {tile.label: (tile.value, tile.note) for tile in tiles(gather_run(folder, 100))}
    assert found["documents"] == ("5", "5 to write pairs about, 0 raw")
    assert found["pairs"] == ("7", "1.8 for each text that has any")
    assert found["of texts have pairs"] == ("80.0%", "1 of 5 stay raw")
    assert found["of pairs dropped"] == ("30.0%", "3 of 10 written")
    assert found["tokens synthesized"] == ("200", "from 1,800 prompt tokens")
    assert found["tokens packed"] == ("999", "0.1% padding")
    assert found["training loss"] == ("2.000", "at step 3; 4.000 at the start")
    assert found["held-out loss"] == ("2.250", "over the tokens of 2 sources")


def test_speed_of_synthesis_leaves_out_starts_of_engines(folder: RunFolder) -> None:
    speed = gather_speed(folder)
    assert speed.num_starts == 2
    assert speed.minutes[-1] == pytest.approx(40 / 60)
    assert speed.mean_per_s("done") == pytest.approx(3.75)
    assert speed.mean_per_s("output_tokens") == pytest.approx(37.5)
    shown = {tile.label: (tile.value, tile.note) for tile in tiles(gather_run(folder, 100))}
    assert shown["documents/s in synthesis"] == ("3.75", "37.5 output tokens/s")
    Path(folder.synth_metrics).unlink()
    assert gather_speed(folder).mean_per_s("done") is None
    assert "Synthesis has noted no progress yet" in render_page(gather_run(folder, 100))


def test_dropped_examples_are_shown_by_reason(folder: RunFolder) -> None:
    run = gather_run(folder, 100)
    assert run.corpus is not None
    (refused,) = run.corpus.dropped["synth"].by_reason["refusal"]
    assert (refused.text, refused.response) == ("Why is that so?", "I cannot say.")
    assert refused.where == f"document {PARTS[0][2].doc_id}"
    duplicates = {record.text for record in run.dropped_records.by_reason["duplicate"]}
    assert duplicates == {HOSTILE, "again"}


def test_hostile_texts_are_shown_and_never_run(folder: RunFolder) -> None:
    html = render_page(gather_run(folder, 100))
    page = Page(html)
    # Text, instruction, response, rendered form, both dropped ones and the dropped record.
    assert "".join(page.text).count(HOSTILE) >= 7
    assert html.count("<script") == len(page.scripts)
    assert not page.tags & {"img", "iframe", "object", "link", "base", "form"}
    assert page.loads == []
    executable = [script for script in page.scripts if script.get("type") is None]
    assert len(executable) == 2
    assert page.shows("of the union <b>are</b>")


def test_charts_hold_valid_data_and_escaped_labels(folder: RunFolder) -> None:
    page = Page(render_page(gather_run(folder, 100)))
    specs = [json.loads(data) for data in page.data]
    labels = [label for spec in specs for label in spec["layout"]["yaxis"].get("ticktext", ())]
    assert "what is script \u2026" in labels
    assert not any(re.search(r"<(?!br>)", label) for label in labels)
    series = charts.Series("<b>bold</b>", {"<a href='x'>label</a>": 1.0})
    spec = charts.ranking("id", "title", [series], "axis").spec
    assert spec["layout"]["yaxis"]["ticktext"][0].startswith("&lt;a href='x'&gt;")
    assert spec["data"][0]["name"] == "&lt;b&gt;bold&lt;/b&gt;"


def test_the_policy_names_exactly_the_scripts_that_run(folder: RunFolder) -> None:
    html = render_page(gather_run(folder, 100))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert "default-src &#39;none&#39;" in policy[1]
    assert policy[1].count("sha256-") == 2
    assert "unsafe-eval" not in policy[1]


@pytest.mark.parametrize("until", ["ingest", "synth", "filter", "pack", "train"])
def test_a_partial_run_says_what_is_not_there_yet(tmp_path: Path, until: str) -> None:
    run = gather_run(write_run(tmp_path / "run", PARTS, until=until), 100)
    page = Page(render_page(run))
    begun = {"ingest": "synth", "synth": "filter", "train": "eval"}.get(until, "train")
    assert page.shows(f"Not there yet: the {begun} stage is not begun")
    assert (run.corpus is None) == (until == "ingest")
    if run.corpus is not None:
        # Before the filter stage, the pair that it would drop is still there.
        assert run.corpus.metrics["pairs"] == (8 if until == "synth" else 7)


def test_a_stage_in_progress_counts_what_is_committed(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", PARTS, until="synth")
    augmented = Path(folder.augmented)
    (augmented / "manifest.json").unlink()
    (augmented / "made-up" / "part-00000001.json").unlink()
    run = gather_run(folder, 100)
    assert run.stages["synth"].state == "in progress"
    assert run.corpus is not None
    assert run.corpus.metrics["documents"] == 4
    assert Page(render_page(run)).shows("The synth stage is in progress")


def test_a_corpus_without_pairs_has_a_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [[Written("Nothing here.")]], until="filter")
    page = Page(render_page(gather_run(folder, 100)))
    assert page.shows("None of these documents has a pair.")


def test_a_diverged_run_has_a_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", PARTS, losses=[3.0, float("nan"), float("nan")])
    run = gather_run(folder, 100)
    assert run.training.series["loss"] == [3.0, None, None]
    assert Page(render_page(run)).shows("not a number")


def test_the_baseline_stands_beside_the_run(folder: RunFolder, tmp_path: Path) -> None:
    doubled = [[Written(f"The land {n}.", (plain_pair(0),) * 2) for n in range(4)]]
    other = write_run(tmp_path / "other", doubled, losses=(4.0, 3.0))
    target = tmp_path / "out" / "page.html"
    write_report(folder, str(target), other, 100)
    page = Page(target.read_text())
    assert page.shows("against other")
    assert page.shows("The samples of both runs differ in size")
    row = re.search(r"Unique questions</th><td>(.*?)</td>\s*<td>(.*?)</td>\s*<td>(.*?)</td>",
                    target.read_text())  # fmt: skip
    assert row is not None
    assert (row[1], row[2]) == ("100.0%", "50.0%")
    assert row[3].startswith("+50.0 pp")
    assert "better" in row[3]
    task = re.search(r"everyday</th><td>(.*?)</td>\s*<td>(.*?)</td>\s*<td>(.*?)</td>\s*(.*)",
                     target.read_text())  # fmt: skip
    assert task is not None
    assert (task[1], task[2], task[3].strip()) == ("0.200 ±0.050", "0.300 ±0.050", "-0.100")
    assert "acc with its standard error, 100 examples after 2 solved ones" in task[4]
    kinds = next(spec for spec in map(json.loads, page.data) if _title(spec) == "share of pairs")
    assert {trace["name"] for trace in kinds["data"]} == {"this run", "baseline"}
    assert not list(target.parent.glob("*.partial*"))


def _title(spec: dict) -> str:
    return spec["layout"]["xaxis"]["title"].get("text", "")


def test_no_run_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no stage of a run.*ipt run"):
        gather_run(RunFolder(str(tmp_path)), 100)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_the_page(folder: RunFolder, tmp_path: Path) -> None:
    runner = CliRunner()
    dry = runner.invoke(app, ["report", folder.root, "--baseline", folder.root, "--dry-run"])
    assert dry.exit_code == 0
    assert f"would read {folder.root} and {folder.root} and write {folder.page}" in dry.output
    assert not Path(folder.page).exists()
    done = runner.invoke(app, ["report", folder.root])
    assert (done.exit_code, done.output) == (0, f"report: {folder.page}\n")
    assert Path(folder.page).read_text().startswith("<!doctype html>")
    (tmp_path / "empty").mkdir()
    empty = runner.invoke(app, ["report", str(tmp_path / "empty")])
    assert empty.exit_code == 2
    assert "no stage of a run" in empty.output
    for word in ("Example:", "--dry-run", "--max-documents"):
        assert word in runner.invoke(app, ["report", "--help"]).output


def test_reading_is_bounded_and_says_so(tmp_path: Path) -> None:
    parts = [
        [Written(f"Text {part} {n}.", (plain_pair(n),)) for n in range(8)] for part in range(6)
    ]
    folder = write_run(tmp_path / "run", parts, until="filter")
    run = gather_run(folder, 12)
    assert run.corpus is not None
    # Chains of two are read whole, so each of the six parts may give one document more.
    assert 12 <= run.corpus.num_documents <= 18
    assert run.corpus.num_documents_of == 48
    again = gather_run(folder, 12).corpus
    assert again is not None
    assert again.examples == run.corpus.examples
    assert Page(render_page(run)).shows(f"{run.corpus.num_documents} of 48 documents")
    with pytest.raises(InputError, match="at least 1"):
        gather_run(folder, 0)


def test_parts_are_chosen_in_proportion() -> None:
    sizes = {f"part-{number}": 100 + number for number in range(1000)}
    assert choose_parts(sizes, 10**9) == sizes
    quotas = choose_parts(sizes, 5000)
    assert len(quotas) == 256
    assert 4700 <= sum(quotas.values()) <= 5000
    assert choose_parts(dict(reversed(sizes.items())), 5000) == quotas
    assert sum(choose_parts(sizes, 3).values()) <= 3
    assert choose_parts({"empty": 0}, 3) == {}


def test_the_fewest_hash_does_not_depend_on_order() -> None:
    first, second = FewestHash[str](3), FewestHash[str](3)
    keys = [str(number) for number in range(50)]
    for one, other in zip([*keys, *keys], reversed([*keys, *keys]), strict=True):
        first.offer(one, one)
        second.offer(other, other)
    assert list(first) == list(second)
    assert len(set(first)) == 3


def test_labels_beyond_the_limit_become_one() -> None:
    own, other = {"a": 6, "b": 3, "c": 1}, {"c": 5, "d": 5}
    mine, baseline = side_by_side(own, other, 2)
    assert mine.values == {"a": 0.6, "all others": 0.4}
    assert baseline.values == {"a": 0.0, "all others": 1.0}
    (trimmed,) = side_by_side({"0": 0, "1": 2, "2": 0, "3": 2, "4": 0}, None)
    assert list(trimmed.values) == ["1", "2", "3"]


def test_a_rendered_text_is_cut_at_its_spans() -> None:
    rendered = RenderedText("text? Q A end", (Span(6, 7, "instruction"), Span(8, 9, "response")))
    assert list(segments(rendered, 100)) == [
        Segment("text? ", ""),
        Segment("Q", "instruction"),
        Segment(" ", ""),
        Segment("A", "response"),
        Segment(" end", ""),
    ]
    cut = list(segments(rendered, 7))
    assert [segment.text for segment in cut[:2]] == ["text? ", "Q"]
    assert cut[2].role == "cut"
    assert "6 more characters" in cut[2].text

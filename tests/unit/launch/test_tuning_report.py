"""The table and the page of measured synthesizers."""

import dataclasses
import html
import json
import re
from pathlib import Path

import pytest

from launch.tuning_report import tune_eval_lines, write_tune_eval_page
from pipeline.contracts import Pair
from synth.engines.protocol import Generation
from synth.measuring.held_out import HeldOutText
from synth.measuring.job import Measurement, TuneEvalResults
from synth.measuring.measures import measure, read_replies
from synth.measuring.replies import Replies
from synth.wire import format_pairs

GOLD = Pair("Who dug the canal?", "farmers")
TEXTS = tuple(
    HeldOutText(str(n), f"set-{n % 3}", f"Canal {n} was dug by farmers.", (GOLD,) if n else ())
    for n in range(25)
)


def measurement(model: str, shots: int, text: str, num_tokens: int) -> Measurement:
    replies = Replies((Generation(text, num_tokens),) * len(TEXTS), shots * len(TEXTS), 2.0)
    pairs = tuple(tuple(parsed.pairs) for parsed in read_replies(replies))
    return Measurement(model, shots, measure(TEXTS, replies, max_new_tokens=50), pairs)


@pytest.fixture(scope="module")
def results() -> TuneEvalResults:
    both = format_pairs([GOLD, Pair("Which? <script>alert(1)</script>", "the farmers")])
    return TuneEvalResults(
        TEXTS,
        tuple(
            measurement(model, shots, text, num_tokens)
            for shots in (0, 2)
            for model, text, num_tokens in (
                ("models/base", "words without end", 50),
                ("run/tuned", both, 20),
            )
        ),
    )


def test_rows_are_shots_and_models_columns_measures(results: TuneEvalResults) -> None:
    lines = tune_eval_lines(results)
    assert [line.split()[:2] for line in lines[2:]] == [
        ["0", "base"],
        ["0", "tuned"],
        ["2", "base"],
        ["2", "tuned"],
    ]
    assert lines[0].split()[:4] == ["shots", "model", "texts", "with"]
    assert lines[1].split()[:4] == ["pair", "read", "text", "in"]
    assert " ".join(lines[2].split()[5:]) == "0.00 0.0% 0.0% 0.0% 0 0 0.0% 0.0% 0.00 625 2.0"
    cells = lines[5].split()[2:]
    assert cells[:7] == ["100.0%", "100.0%", "100.0%", "2.00", "100.0%", "4.0%", "100.0%"]
    assert cells[9:] == ["100.0%", "100.0%", "2.00", "250", "2.0"]
    assert len({line.index("base") for line in (lines[2], lines[4])}) == 1


def test_what_cannot_be_measured_is_no_zero(results: TuneEvalResults) -> None:
    one = results.measurements[1]
    measures = dataclasses.replace(one.measures, question_f1=None, answer_f1=None)
    without = dataclasses.replace(one, measures=measures)
    (line,) = tune_eval_lines(TuneEvalResults(TEXTS, (without,)))[2:]
    assert line.split()[11:13] == ["-", "-"]


def test_the_page_shows_measures_charts_and_examples(
    results: TuneEvalResults, tmp_path: Path
) -> None:
    path = tmp_path / "report" / "page.html"
    write_tune_eval_page(results, str(path))
    page = path.read_text()
    for text in ("base, zero-shot", "tuned, 2-shot", "models/base", "3: set-0, set-1, set-2"):
        assert text in page, text
    assert page.count('<article class="example">') == 10
    # The first text has no gold pairs; the base model wrote none at all.
    assert page.count("<h4>gold pairs</h4>") == 9
    assert page.count("No pair.") == 20
    assert "<script>alert" not in page
    assert html.escape("<script>alert(1)</script>") in page
    specs = re.findall(r'<script type="application/json">(.*?)</script>', page)
    charts = [json.loads(spec) for spec in specs]
    assert len(charts) == 14
    grounded = next(
        chart
        for chart, identity in zip(charts, re.findall(r'id="chart-(\S+)"', page), strict=True)
        if identity == "grounded"
    )
    assert [(bars["name"], bars["y"]) for bars in grounded["data"]] == [
        ("base", [0.0, 0.0]),
        ("tuned", [1.0, 1.0]),
    ]
    assert "tuned, 2-shot: kinds of pairs" in page


def test_few_texts_are_all_shown(tmp_path: Path) -> None:
    replies = Replies((Generation("", 1),), 0, 1.0)
    one = Measurement("m", 0, measure(TEXTS[:1], replies, 50), ((),))
    path = tmp_path / "page.html"
    write_tune_eval_page(TuneEvalResults(TEXTS[:1], (one,)), str(path))
    page = path.read_text()
    assert page.count('<article class="example">') == 1
    assert 'id="chart-question-f1"' not in page
    assert 'id="chart-stopped"' in page

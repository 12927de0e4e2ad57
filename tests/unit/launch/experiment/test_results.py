"""Measures, evidence and how both are shown, of made-up models."""

import json

import pytest

from launch.experiment.measuring import Measured
from launch.experiment.page import render_results
from launch.experiment.results import ArmData, Curve, Results, make_measures
from launch.experiment.tables import result_lines
from train.scores import Metric, TaskScore


def model(loss: float, accuracy: float) -> Measured:
    score = TaskScore(metrics={"acc": Metric(value=accuracy)}, num_examples=10, num_fewshot=0)
    return Measured(loss, loss / 2, {"quiz": score})


@pytest.fixture
def results() -> Results:
    measured = {
        "vanilla": [model(5.0, 0.50), model(5.2, 0.52), model(5.1, 0.51)],
        "instruct": [model(4.8, 0.53), model(5.01, 0.50), model(4.9, 0.54)],
    }
    data = ArmData({"a-raw": 800.0}, {"heldout": 7}, {})
    return Results(
        reference="vanilla",
        seeds=(1, 2, 3),
        tokens_per_training=1000,
        measures=list(make_measures(measured, "vanilla")),
        data={
            "vanilla": data,
            "instruct": ArmData(
                {"a-raw": 600.0, "a-augmented": 200.0}, {"heldout": 6}, {"quiz": 2}
            ),
        },
        curves={"a-raw": {"vanilla": Curve([5, 10], [6.0, 5.5]), "instruct": Curve([5], [5.9])}},
    )


def test_measures_of_every_arm(results: Results) -> None:
    found = {measure.key: measure for measure in results.measures}
    assert list(found) == ["heldout_loss", "heldout_perplexity", "heldout_bits_per_byte", "quiz"]
    assert found["heldout_loss"].arms["vanilla"].values == (5.0, 5.2, 5.1)
    assert found["heldout_loss"].arms["vanilla"].deviation == pytest.approx(0.1)
    assert found["heldout_perplexity"].arms["vanilla"].values[0] == pytest.approx(148.413, abs=1e-3)
    assert found["heldout_bits_per_byte"].arms["instruct"].mean == pytest.approx(4.90333 / 2)
    assert found["heldout_loss"].differences.keys() == {"instruct"}


def test_a_sentence_an_arm_says_what_the_evidence_supports(results: Results) -> None:
    # Losses -0.20, -0.19, -0.20: mean -0.1967, half width 4.3027 * 0.0057735 / sqrt(3) = 0.01434.
    # Accuracies 0.03, -0.02, 0.03: mean 0.0133, half width 4.3027 * 0.028868 / sqrt(3) = 0.0717.
    assert results.conclusions() == {
        "instruct": "instruct: held-out loss (nats per token) better than vanilla (-0.1967, 95% "
        "interval -0.2110 to -0.1823); quiz (acc) no difference shown (+0.0133, 95% interval "
        "-0.0584 to +0.0850)."
    }


def test_figures_without_bars(results: Results) -> None:
    bars = results.bars()
    assert bars["heldout_loss.vanilla"] == {"value": 5.1, "bar": None, "ok": True}
    assert bars["heldout_loss.instruct-vanilla"]["value"] == -0.1967
    assert bars["heldout_loss.instruct-vanilla.low"]["value"] == -0.211
    assert bars["quiz.instruct-vanilla.high"]["value"] == 0.085
    as_json = json.loads(json.dumps(results.as_json()))
    assert as_json["measures"]["heldout_loss"]["differences"]["instruct"]["verdict"] == "better"
    assert as_json["measures"]["quiz"]["better"] == "higher"
    assert as_json["data"]["instruct"]["pairs_contaminated"] == {"quiz": 2}


def test_lines_for_the_console(results: Results) -> None:
    lines = list(result_lines(results))
    assert lines[:3] == [
        "held-out loss (nats per token)    mean   spread  seed 1  seed 2  seed 3  from vanilla",
        "  vanilla                       5.1000  ±0.1000  5.0000  5.2000  5.1000",
        "  instruct                      4.9033  ±0.1050  4.8000  5.0100  4.9000  better than "
        "vanilla (-0.1967, 95% interval -0.2110 to -0.1823)",
    ]
    assert "  vanilla            800            -               heldout 7  0" in lines
    assert "  instruct           600          200               heldout 6  quiz 2" in lines


def test_one_seed_is_shown_without_spread() -> None:
    measured = {"vanilla": [model(5.0, 0.5)], "instruct": [model(4.0, 0.5)]}
    trained = ArmData({"a-raw": 10.0}, {}, {})
    measures = list(make_measures(measured, "vanilla"))
    data = {"vanilla": trained, "instruct": trained}
    results = Results("vanilla", (7,), 10, measures, data, {})
    assert "one seed, no interval (-1.0000)" in results.conclusions()["instruct"]
    assert not [name for name in results.bars() if name.endswith(".low")]
    assert "While training" not in render_results(results, "x")
    assert next(iter(result_lines(results))).split()[-3:] == ["7", "from", "vanilla"]


def test_the_page_shows_everything(results: Results) -> None:
    page = render_results(results, "runs/<x>")
    for text in (
        "runs/&lt;x&gt;",
        results.conclusions()["instruct"].replace("'", "&#39;"),
        ">5.0100<",
        ">heldout 6<",
        'id="chart-measure-0"',
        'id="chart-curve-0"',
        'id="chart-tokens"',
        ">1,000<",
    ):
        assert text in page, text
    assert page.count('<script type="application/json">') == 4  # loss, quiz, curve, tokens

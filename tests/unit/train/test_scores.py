"""Scores are found again for the same model and settings, and for no others."""

from pathlib import Path

import pytest

from train.scores import KeptScores, Metric, TaskScore, read_scores

SCORES = {
    "boolq": TaskScore(
        metrics={"acc": Metric(value=0.5, stderr=0.1)}, num_examples=25, num_fewshot=2
    )
}


def test_kept_scores_are_found_by_model_task_and_settings(tmp_path: Path) -> None:
    kept = KeptScores(str(tmp_path), {"limit": 0})
    assert kept.find("a", "boolq") is None
    kept.keep("a", "boolq", SCORES)
    assert kept.find("a", "boolq") == SCORES
    assert kept.find("b", "boolq") is None
    assert kept.find("a", "piqa") is None
    assert KeptScores(str(tmp_path), {"limit": 5}).find("a", "boolq") is None


@pytest.mark.parametrize(
    ("names", "main"),
    [
        (("acc", "acc_norm"), "acc_norm"),
        (("f1", "acc"), "acc"),
        (("word_perplexity", "bits_per_byte"), "word_perplexity"),
    ],
)
def test_one_measure_stands_for_the_task(names: tuple[str, ...], main: str) -> None:
    metrics = {name: Metric(value=number) for number, name in enumerate(names)}
    score = TaskScore(metrics=metrics, num_examples=1, num_fewshot=0)
    assert score.main() == (main, metrics[main])


def test_a_report_without_tasks_has_no_scores() -> None:
    assert read_scores({"heldout": {}}) == {}
    assert Metric(value=0.25).text() == "0.250"
    assert Metric(value=0.25, stderr=0.0123).text() == "0.250 ±0.012"

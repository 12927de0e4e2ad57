"""Rows on ranks, and settings in steps."""

import pytest

from launch.preflight.batch import batch_finding, step_findings
from train.config import TrainConfig


def training(**settings: object) -> TrainConfig:
    base = {"model": {"preset": "llama-135m"}, "num_steps": 100, "rows_per_batch": 64}
    return TrainConfig.model_validate(
        {**base, "checkpoint_every": 10, "optimizer": {"warmup_steps": 5}, **settings}
    )


def test_a_batch_that_divides_is_fine() -> None:
    found = batch_finding(training(micro_rows=4), 8)
    assert found.state == "ok"
    assert "64 rows on 8 ranks x 4 micro_rows x 2 micro-batches" in found.found


@pytest.mark.parametrize(
    ("rows", "micro", "ranks", "padding", "remedies"),
    [
        (64, 4, 3, 8, ["train.rows_per_batch=60 or 72"]),
        (64, 8, 16, 64, ["train.rows_per_batch=128", "train.micro_rows=4"]),
        (8, 16, 2, 24, ["train.rows_per_batch=32", "train.micro_rows=4"]),
    ],
)
def test_padding_is_counted_and_each_proposal_has_none(
    rows, micro, ranks, padding, remedies
) -> None:
    found = batch_finding(training(rows_per_batch=rows, micro_rows=micro), ranks)
    assert found.state == "warning"
    share = padding / (rows + padding)
    assert f"{padding} rows of padding, {share:.1%} of the work in vain" in found.found
    assert found.remedy == f"set {', or '.join(remedies)}"
    sizes = remedies[0].partition("=")[2].split(" or ")
    for size in map(int, sizes):
        assert (
            "without a row of padding"
            in batch_finding(training(rows_per_batch=size, micro_rows=micro), ranks).found
        )
    for other in remedies[1:]:
        micro = int(other.partition("=")[2])
        assert (
            "without a row"
            in batch_finding(training(rows_per_batch=rows, micro_rows=micro), ranks).found
        )


def test_a_little_padding_is_said_and_no_more() -> None:
    found = batch_finding(training(rows_per_batch=1023), 8)
    assert (found.state, "1 rows of padding" in found.found) == ("ok", True)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"optimizer": {"warmup_steps": 100}}, "warmup_steps (100) is not below"),
        ({"checkpoint_every": 101}, "checkpoint_every (101) is above"),
        ({"heldout": {"every": 200}}, "heldout.every (200) is above"),
        ({"logging": {"profile_steps": [90, 110]}}, "profile_steps ([90, 110]) ends after"),
    ],
)
def test_steps_that_are_never_reached_are_warned_of(settings, words: str) -> None:
    [found] = step_findings(training(**settings))
    assert found.state == "warning"
    assert words in found.found
    assert found.remedy


def test_steps_that_are_reached_are_fine() -> None:
    [found] = step_findings(training())
    assert found.found == "100 steps, 5 of warm-up, 10 checkpoints"

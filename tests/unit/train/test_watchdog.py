"""Who keeps the others waiting."""

from train.watchdog import Beat, explain_hang


def beat(step: int, phase: str, age_s: float = 1.0) -> Beat:
    return Beat(step, phase, 100.0, age_s)


def test_the_rank_that_is_behind_is_named() -> None:
    beats = {0: beat(7, "losses"), 1: beat(7, "data"), 2: beat(7, "losses")}
    assert explain_hang(beats) == "rank 1 is still at the data of step 7"
    beats[1] = beat(6, "optimizer")
    assert explain_hang(beats) == "rank 1 is still at the optimizer of step 6"


def test_a_rank_that_says_nothing_is_named() -> None:
    beats = {0: beat(7, "losses"), 1: beat(7, "losses", age_s=90.0), 2: beat(7, "losses")}
    assert explain_hang(beats) == "rank 1 shows no sign of life"
    assert explain_hang(beats | {1: None}) == "rank 1 shows no sign of life"


def test_when_all_are_at_the_same_point_nobody_is() -> None:
    beats = dict.fromkeys(range(3), beat(7, "losses"))
    assert "all ranks are at the same point" in explain_hang(beats)


def test_without_any_word_it_is_the_one_that_passes_them_on() -> None:
    assert "rank 0" in explain_hang({0: None, 1: None})

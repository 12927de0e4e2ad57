"""What a person sees of synthesis."""

import pytest

from synth import view
from synth.view import SynthProgress, SynthView, plain

FIGURES = {
    "parts_total": 10,
    "parts_done": 4,
    "parts_done_before": 2,
    "parts_in_flight": 3,
    "workers": 2,
    "workers_lost": 1,
    "engine_restarts": 3,
}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    """A clock that the test moves."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(view.time, "monotonic", lambda: Clock.now)
    return Clock


def test_rates_are_of_the_last_minute_and_leave_the_start_out(clock) -> None:
    progress = SynthProgress(num_documents=1000)
    clock.now += 300  # engines start
    progress.update(FIGURES)
    for second in range(0, 121, 10):
        speed = 1 if second <= 60 else 3
        documents = second if speed == 1 else 60 + 3 * (second - 60)
        counts = {"documents": 10 + documents, "output_tokens": 100 * documents, "pairs": 50}
        clock.now += 10
        line = progress.update(FIGURES | counts)
    assert line["documents_per_s"] == 3
    assert line["output_tokens_per_s"] == 300
    assert line["done"] == 200 + 250
    assert line["time_left_s"] == round(550 / 3)


def test_one_line_holds_all_figures(clock) -> None:
    counts = {
        "documents": 100,
        "pairs": 250,
        "pairs_dropped.echo": 50,
        "pairs_dropped.length": 200,
        "prompt_tokens": 1000,
        "cached_tokens": 400,
        "documents_quarantined": 2,
    }
    shown = plain(SynthProgress(1000).update(FIGURES | counts))
    for figure in (
        "parts 4/10",
        "documents 300/1,000",
        "prefix hits 40%",
        "pairs/text 2.50",
        "pairs dropped 50%",
        "workers 2",
        "restarts 4",
        "quarantined 2",
    ):
        assert figure in shown


def test_a_complete_job_shows_all_documents(clock) -> None:
    line = SynthProgress(1000).update(FIGURES | {"parts_done": 10, "documents": 790})
    assert line["done"] == 1000


def test_lines_come_now_and_then_and_the_last_one_always(clock, capsys) -> None:
    progress = SynthProgress(1000)
    with SynthView() as shown:
        shown.show(progress.update(FIGURES))  # nothing has come of it yet
        for number in range(1, 26):
            clock.now += 1
            shown.show(progress.update(FIGURES | {"documents": number}))
        shown.say("a word")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "documents 225/1,000" in lines[-1]
    assert lines[-2] == "synth   a word"

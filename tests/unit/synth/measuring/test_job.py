"""Models side by side, on the fake engine: what is kept is not asked again."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.contracts import Pair
from pipeline.errors import InputError, JobFailedError
from synth.measuring import job
from synth.measuring.config import TuneEvalConfig
from synth.measuring.held_out import HeldOutText, plain_texts
from synth.measuring.job import measure_synthesizers
from synth.tasks import Task, Turn

WORDS = ("senate", "treaty", "silver", "nation", "people", "union")
EARLIER = (Turn("gold and silver", Task(), (Pair("What?", "gold"),)),)
TEXTS = [
    HeldOutText(word, "s", f"the {word} and its law", (Pair("Of what?", word),), EARLIER)
    for word in WORDS
]


@pytest.fixture
def models(tmp_path: Path, tokenizer_folder: Path) -> list[str]:
    """Folders of two models that differ, as far as the fake engine wants them."""
    for name in ("base", "tuned"):
        shutil.copytree(tokenizer_folder, tmp_path / name)
        (tmp_path / name / "config.json").write_text(json.dumps({"name": name}))
    return [str(tmp_path / name) for name in ("base", "tuned")]


def config_of(**settings) -> TuneEvalConfig:
    values = {"max_new_tokens": 64, "max_model_len": 512, "shots": [0, 1], **settings}
    return TuneEvalConfig.model_validate({"engine": {"kind": "fake"}, **values})


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models with which an engine was started."""
    started: list[str] = []
    make_engine = job.make_engine

    def noted(config, tokenizer, family):
        started.append(config.model)
        return make_engine(config, tokenizer, family)

    monkeypatch.setattr(job, "make_engine", noted)
    return started


def test_each_model_is_measured_with_each_number_of_shots(
    tmp_path: Path, models: list[str], starts: list[str]
) -> None:
    results = measure_synthesizers(config_of(), TEXTS, models, str(tmp_path / "kept"))
    named = [(one.shots, one.model) for one in results.measurements]
    assert named == [(0, models[0]), (0, models[1]), (1, models[0]), (1, models[1])]
    assert starts == models
    for one in results.measurements:
        assert one.measures.mean_shots == one.shots
        assert one.measures.num_texts == len(TEXTS) == len(one.pairs)
        assert one.measures.num_pairs == sum(map(len, one.pairs)) > 0
        assert one.measures.question_f1 is not None
    # The fake engine writes by the prompt alone.
    zero_base, zero_tuned, one_base, _ = results.measurements
    assert zero_base.pairs == zero_tuned.pairs != one_base.pairs
    values = json.loads(json.dumps(results.as_json()))
    assert values["texts"] == 6
    assert values["sources"] == ["s"]
    assert values["measurements"][3]["shots"] == 1
    assert values["measurements"][3]["model"] == models[1]
    assert values["measurements"][0]["pairs_per_text"] == zero_base.measures.pairs_per_text


def test_only_what_is_missing_is_asked(
    tmp_path: Path, models: list[str], starts: list[str]
) -> None:
    folder = str(tmp_path / "kept")
    first = measure_synthesizers(config_of(shots=[0]), TEXTS, models[:1], folder)
    both = measure_synthesizers(config_of(), TEXTS, models, folder)
    assert starts == [models[0], *models]
    assert both.measurements[0] == first.measurements[0]
    records = list((tmp_path / "kept" / "replies").iterdir())
    assert len(records) == 4
    again = measure_synthesizers(config_of(max_examples=7), TEXTS, models, folder)
    assert again == both
    assert len(starts) == 3
    measure_synthesizers(config_of(max_new_tokens=32), TEXTS, models[1:], folder)
    measure_synthesizers(config_of(shots=[0]), TEXTS[:3], models[1:], folder)
    assert starts[3:] == [models[1]] * 2
    (tmp_path / "tuned" / "config.json").write_text("{}")
    measure_synthesizers(config_of(shots=[0]), TEXTS, models[1:], folder)
    assert starts[5:] == [models[1]]


def test_a_broken_off_measurement_goes_on(
    tmp_path: Path, models: list[str], starts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = job.ask

    async def ask_once(engine, protocol, texts, shots, *rest):
        if shots:
            raise KeyboardInterrupt
        return await ask(engine, protocol, texts, shots, *rest)

    folder = str(tmp_path / "kept")
    monkeypatch.setattr(job, "ask", ask_once)
    with pytest.raises(KeyboardInterrupt):
        measure_synthesizers(config_of(), TEXTS, models, folder)
    assert len(list((tmp_path / "kept" / "replies").iterdir())) == 1
    monkeypatch.setattr(job, "ask", ask)
    results = measure_synthesizers(config_of(), TEXTS, models, folder)
    assert len(results.measurements) == 4
    assert starts == [models[0], *models]


def test_a_text_that_kills_the_engine_is_counted(tmp_path: Path, models: list[str]) -> None:
    engine = {"kind": "fake", "fake": {"faults": {"treaty": "die"}}}
    results = measure_synthesizers(
        config_of(shots=[0], engine=engine), TEXTS, models[:1], str(tmp_path / "kept")
    )
    (one,) = results.measurements
    assert one.measures.prompts == {"requests_failed": 1}
    assert one.pairs[WORDS.index("treaty")] == ()
    assert one.measures.stopped <= 5 / 6
    # Such replies are not kept: what failed then may do now.
    again = measure_synthesizers(config_of(shots=[0]), TEXTS, models[:1], str(tmp_path / "kept"))
    assert "requests_failed" not in again.measurements[0].measures.prompts


def test_plain_texts_are_measured_without_examples(tmp_path: Path, models: list[str]) -> None:
    texts = plain_texts(["the law of the nation", "a bank of silver"])
    folder = str(tmp_path / "kept")
    results = measure_synthesizers(config_of(), texts, models[:1], folder)
    assert [one.shots for one in results.measurements] == [0]
    assert results.measurements[0].measures.question_f1 is None
    with pytest.raises(InputError, match=r"shots \[1\] need earlier examples"):
        measure_synthesizers(config_of(shots=[1]), texts, models[:1], folder)


def test_what_cannot_be_measured_is_said_before_any_engine_starts(
    tmp_path: Path, models: list[str], starts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tmp_path / "kept")
    with pytest.raises(InputError, match="no text"):
        measure_synthesizers(config_of(), [], models, folder)
    with pytest.raises(InputError, match="no such folder"):
        measure_synthesizers(config_of(), TEXTS, [*models, "/nowhere"], folder)
    assert starts == []

    def fail(*_):
        raise RuntimeError("no memory left\nat all")

    monkeypatch.setattr(job, "make_engine", fail)
    with pytest.raises(JobFailedError, match=r"base: no memory left; see .*engine\.log$"):
        measure_synthesizers(config_of(), TEXTS, models, folder)


def test_gold_is_matched_with_what_was_written(tmp_path: Path, models: list[str]) -> None:
    folder = str(tmp_path / "kept")
    (one,) = measure_synthesizers(config_of(shots=[0]), TEXTS, models[:1], folder).measurements
    texts = [
        HeldOutText(text.id, text.source, text.text, pairs or text.gold, text.earlier)
        for text, pairs in zip(TEXTS, one.pairs, strict=True)
    ]
    (itself,) = measure_synthesizers(config_of(shots=[0]), texts, models[:1], folder).measurements
    share = sum(map(bool, one.pairs)) / len(TEXTS)
    assert itself.measures.answer_f1 == itself.measures.question_f1 == pytest.approx(share)

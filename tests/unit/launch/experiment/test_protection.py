"""Evaluation sets that follow from the tasks."""

from pathlib import Path

import pytest

from launch.experiment.protection import protected_sets
from pipeline.decontamination.building import load_eval_index
from pipeline.decontamination.config import DecontaminationConfig
from pipeline.errors import InputError
from train.config import EvalConfig
from train.suites import SHIPPED_TASKS


def test_a_shipped_task_is_protected_by_its_questions() -> None:
    sets = protected_sets(EvalConfig(tasks=("everyday",)), ())
    assert sets == {"everyday": {"path": str(SHIPPED_TASKS / "everyday.yaml")}}
    index = load_eval_index(DecontaminationConfig.model_validate({"sets": sets}))
    found = index.find("They say: when water gets cold enough, it turns into ice.")
    assert found is not None
    assert found.eval_set == "everyday"


def test_a_task_is_found_by_its_name_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "some-file.yaml").write_text("# task: other\ntask: 'quiz'  # ours\n")
    (tmp_path / "quiz.yaml").write_text("task: quiz-two\n")
    config = EvalConfig(tasks=("quiz",), task_folder=str(tmp_path))
    assert protected_sets(config, ()) == {
        "quiz": {"path": str(tmp_path / "below" / "some-file.yaml")}
    }


def test_a_task_whose_questions_are_nowhere_is_refused() -> None:
    suite = EvalConfig(tasks=("general",))
    with pytest.raises(InputError, match="'arc_easy' is no local task"):
        protected_sets(suite, ())
    with pytest.raises(InputError, match="'boolq' is no local task"):
        protected_sets(suite, ("arc_easy", "arc_challenge"))
    assert protected_sets(EvalConfig(tasks=("boolq",)), ("boolq",)) == {}

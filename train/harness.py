"""Tasks of lm-evaluation-harness on a model: found, loaded once, scored one after the other.

eval.tasks ──suites──▶ names ──index──▶ tasks ──data──▶ scores   each step fails before the next
                       unknown: refused   no hub: refused        begins, so that a model of hours
                                                                 is not loaded for a typing error
"""

import contextlib
import difflib
import importlib.util
import io
import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any

from pipeline.errors import InputError
from train.config import EvalConfig
from train.scores import Metric, Scores, TaskScore
from train.suites import SUITES, expand_suites, local_digest, local_folders

_BOOTSTRAP_ROUNDS, _SEED = 1000, 1234
_NO_METRIC = ("name", "alias", "sample_len", "sample_count")


class Tasks:
    """The tasks that a config names."""

    def __init__(self, config: EvalConfig) -> None:
        """Find them by name; nothing is read of their data yet.

        Raises:
            InputError: the harness is not installed, or does not know a task.
        """
        if importlib.util.find_spec("lm_eval") is None:
            raise InputError(
                f"eval.tasks ({', '.join(config.tasks)}) needs lm-evaluation-harness, which is not "
                f"installed: pip install 'instruct-pretrain[eval]', or leave eval.tasks out"
            )
        self._config = config
        self._folders = local_folders(config.task_folder)
        self.names = expand_suites(config.tasks)
        with _quiet():
            self._manager = self._find_manager()
        for name in self.names:
            self._check_known(name)
        self._loaded: dict[str, Any] = {}

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Whatever decides a score beside model and task."""
        return {
            "num_fewshot": self._config.num_fewshot,
            "limit": self._config.limit,
            "local_files": local_digest(self.names, self._config.task_folder),
            "lm_eval": version("lm_eval"),
        }

    def load(self, names: Sequence[str]) -> None:
        """Read the data of some of the tasks, those that are not read yet.

        Raises:
            InputError: a hub cannot be reached, or a task's file or data is not usable.
        """
        for name in names:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)

    def score(self, model: Any, tokenizer: Any, name: str) -> Scores:
        """Score a model on one task, or on all tasks of a group that has no score of its own.

        Args:
            model: a causal language model, on its device.
            tokenizer: its tokenizer.
            name: one of `names`.

        Raises:
            InputError: the task runs code that a model wrote, or gives no score.
        """
        from lm_eval import evaluate
        from lm_eval.models.huggingface import HFLM
        from transformers import set_seed

        self.load([name])
        config = self._config
        set_seed(_SEED)
        try:
            # Not `simple_evaluate`, which asks git and pip about the machine each time.
            with _quiet():
                harness_model = HFLM(
                    pretrained=model,
                    tokenizer=tokenizer,
                    backend="causal",
                    batch_size=config.batch_size,
                )
                results = evaluate(
                    harness_model,
                    self._loaded[name],
                    limit=config.limit or None,
                    bootstrap_iters=_BOOTSTRAP_ROUNDS,
                    log_samples=False,
                )
        except ValueError as error:
            raise InputError(f"eval.tasks: {name} cannot be scored: {error}") from error
        assert results is not None
        scores = dict(_scores_of(results, name))
        if not scores:
            raise InputError(f"eval.tasks: {name} gives no score; leave it out")
        return scores

    def _find_manager(self) -> Any:
        """An index of all tasks; where the local ones will do, of those alone, in a moment."""
        from lm_eval.tasks import TaskManager

        folders = [str(folder) for folder in self._folders]
        local = TaskManager(include_path=folders, include_defaults=False)
        if all(name in local.task_index for name in self.names):
            return local
        return TaskManager(include_path=folders)

    def _check_known(self, name: str) -> None:
        known = self._manager.task_index
        if name in known:
            return
        near = difflib.get_close_matches(name, [*SUITES, *known], n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(
            f"eval.tasks: no task is named {name!r}; {hint}`lm-eval ls tasks` lists those of the "
            f"harness; others are found in eval.task_folder ({self._config.task_folder or 'unset'})"
        )

    def _load(self, name: str) -> Any:
        """The harness's task with this name, or its tasks and groups.

        Raises:
            InputError: see `load`.
        """
        import jinja2
        from datasets.exceptions import DatasetsError

        folder = self._local_folder(name)
        where = contextlib.chdir(folder) if folder else contextlib.nullcontext()
        try:
            # The harness looks for data files in the working directory.
            with _quiet(), where:
                loaded = self._manager.load([name])
        except ConnectionError as error:
            raise InputError(
                f"eval.tasks: {name} needs a data set from a model hub, which cannot be reached "
                f"({error}); run this where it can be (the data stays in the cache of "
                f"Hugging Face), or choose local tasks, such as everyday"
            ) from error
        except (OSError, ValueError, TypeError, LookupError, ImportError, RuntimeError) as error:
            raise InputError(_not_usable(name, error, folder)) from error
        except (jinja2.TemplateError, DatasetsError) as error:
            raise InputError(_not_usable(name, error, folder)) from error
        for task in loaded["tasks"].values():
            if task.get_config("num_fewshot") is None:
                task.set_config(key="num_fewshot", value=self._config.num_fewshot or 0)
            # As in the harness: a task that wants no examples gets none.
            elif self._config.num_fewshot is not None and task.get_config("num_fewshot"):
                task.set_config(key="num_fewshot", value=self._config.num_fewshot)
            task.set_fewshot_seed(seed=_SEED)
        return loaded

    def _local_folder(self, name: str) -> str | None:
        """Folder of a local task's file, or of the first task of a local tag."""
        index = self._manager.task_index
        for entry in map(index.get, [name, *sorted(index[name].tags)]):
            path = entry.yaml_path if entry is not None else None
            if path and any(folder in path.absolute().parents for folder in self._folders):
                return str(path.absolute().parent)
        return None


def _not_usable(name: str, error: Exception, folder: str | None) -> str:
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    remedy = (
        f"mend its files in {folder}; data files are found beside the task file"
        if folder
        else "leave it out, or install what it asks for"
    )
    return f"eval.tasks: {name} cannot be loaded: {first_line}; {remedy}"


def _scores_of(results: Any, name: str) -> Iterator[tuple[str, TaskScore]]:
    """The score of a task or group, or where it has none, of each task below it."""
    own = results["results"].get(name, {})
    names = [name] if _metrics(own) else [task for task in results["n-samples"] if task != name]
    for task in names:
        leaves = list(results["n-samples"]) if task not in results["n-samples"] else [task]
        if metrics := _metrics(results["results"][task]):
            yield (
                task,
                TaskScore(
                    metrics=metrics,
                    num_examples=sum(results["n-samples"][leaf]["effective"] for leaf in leaves),
                    num_fewshot=int(results["n-shot"].get(leaves[0], 0)),
                ),
            )


def _metrics(figures: dict[str, Any]) -> dict[str, Metric]:
    """Measures by name: `acc,none` is `acc`, `exact_match,strict` stays as it is."""
    metrics = {}
    for key, value in figures.items():
        measure, _, how = key.partition(",")
        if key in _NO_METRIC or measure.endswith("_stderr") or not isinstance(value, int | float):
            continue
        stderr = figures.get(f"{measure}_stderr,{how}")
        metrics[measure if how == "none" else key] = Metric(
            value=value, stderr=stderr if isinstance(stderr, float) else None
        )
    return metrics


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the harness's progress bars, notes on each default and retries from the console."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)

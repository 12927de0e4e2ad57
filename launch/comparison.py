"""`ipt eval CONFIG --model A --model B`: models on the tasks of a config, as one table and plot.

model          everyday         boolq   mean
               acc_norm           acc
runs/a/hf  0.260 ±0.044  0.510 ±0.009  0.385
runs/b/hf  0.860 ±0.035  0.620 ±0.008  0.740
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from launch.config import PipelineConfig
from launch.stages import Invocation
from pipeline import storage
from pipeline.errors import InputError
from pipeline.run_folder import RunFolder
from train.scores import Scores, as_json, read_scores

_COLUMNS, _ROW_HEIGHT = 3, 300


def compare_models(
    invocation: Invocation[PipelineConfig], references: Sequence[str], *, dry_run: bool
) -> None:
    """Score models on the tasks of `eval.tasks`, print the table, write JSON and page.

    Raises:
        InputError: no task, or one that is not usable; no such model.
    """
    from train.comparison import score_models
    from train.harness import Tasks

    config, folder = invocation.config.eval, invocation.config.folder
    if not config.tasks:
        raise InputError(
            "--model compares models on eval.tasks, which is empty; name tasks, for example "
            "eval.tasks='[\"everyday\"]'"
        )
    if not storage.is_local(folder.root):
        raise InputError(
            f"run.dir ({folder.root}): a comparison needs a file system; set run.dir to a folder"
        )
    references = list(dict.fromkeys(references))
    if dry_run:
        print(f"would score {', '.join(references)} on {', '.join(config.tasks)}")
        print(f"would write {folder.comparison} and {_page_of(folder)}")
        return
    with storage.exclusive(folder.root):
        models: dict[str, Scores] = {}
        for reference, scores in score_models(Tasks(config), folder.scores, references):
            models[reference] = scores
            print(f"eval    {reference}: {len(scores)} tasks", flush=True)
        comparison = {name: as_json(scores) for name, scores in models.items()}
        data = json.dumps({"models": comparison}, indent=1, ensure_ascii=False)
        storage.write_atomic(folder.comparison, data.encode())
        page = _figure(models).to_html(include_plotlyjs=True)
        storage.write_atomic(_page_of(folder), page.encode())
    print("\n".join(table_lines(models)))
    print(f"scores: {folder.comparison}\npage: {_page_of(folder)}")


def print_scores(folder: RunFolder) -> None:
    """Print the table of the exported model, if its evaluation had tasks."""
    if scores := read_scores(json.loads(storage.read_bytes(folder.report))):
        print("\n".join(table_lines({folder.hf: scores})))


def table_lines(models: Mapping[str, Scores]) -> Iterator[str]:
    """A row a model, a column a task; with several tasks of one measure's kind, their mean.

    Args:
        models: scores by model; all on the same tasks.
    """
    tasks = list(next(iter(models.values())))
    measures = [next(iter(models.values()))[task].main()[0] for task in tasks]
    columns = [[task, measure] for task, measure in zip(tasks, measures, strict=True)]
    for scores in models.values():
        for column, task in zip(columns, tasks, strict=True):
            column.append(scores[task].main()[1].text())
    if len(tasks) > 1 and all(measure.startswith("acc") for measure in measures):
        means = [
            sum(scores[task].main()[1].value for task in tasks) / len(tasks)
            for scores in models.values()
        ]
        columns.append(["mean", "", *(f"{mean:.3f}" for mean in means)])
    names = ["model", "", *models]
    width = max(map(len, names))
    widths = [max(map(len, column)) for column in columns]
    for number, name in enumerate(names):
        cells = (f"{column[number]:>{size}}" for column, size in zip(columns, widths, strict=True))
        yield "  ".join([f"{name:<{width}}", *cells]).rstrip()


def _page_of(folder: RunFolder) -> str:
    return folder.comparison.removesuffix(".json") + ".html"


def _figure(models: Mapping[str, Scores]) -> Any:
    """A small chart a task over the models in their order, with standard errors."""
    from plotly.subplots import make_subplots

    first = next(iter(models.values()))
    titles = [f"{task}: {score.main()[0]}" for task, score in first.items()]
    num_rows = -(-len(first) // _COLUMNS)
    num_columns = min(len(first), _COLUMNS)
    figure = make_subplots(num_rows, num_columns, subplot_titles=titles)
    names = short_names(list(models))
    for number, task in enumerate(first):
        metrics = [scores[task].main()[1] for scores in models.values()]
        figure.add_scatter(
            x=names,
            y=[metric.value for metric in metrics],
            error_y={"type": "data", "array": [metric.stderr or 0.0 for metric in metrics]},
            customdata=list(models),
            hovertemplate="%{customdata}: %{y:.3f}",
            mode="lines+markers",
            name=task,
            row=number // _COLUMNS + 1,
            col=number % _COLUMNS + 1,
        )
    figure.update_layout(title="Scores of models", showlegend=False, height=_ROW_HEIGHT * num_rows)
    return figure


def short_names(references: Sequence[str]) -> list[str]:
    """The last parts of each path, as many as tell them apart."""
    parts = [reference.rstrip("/").split("/") for reference in references]
    for length in range(1, max(map(len, parts))):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return list(references)

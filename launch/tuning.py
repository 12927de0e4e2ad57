"""`ipt tune-eval`: synthesizers on the held-out examples of a tuning run, before and after."""

import json
from collections.abc import Sequence

from launch.config import TuneConfig
from launch.stages import Invocation
from launch.tuning_report import tune_eval_lines, write_tune_eval_page
from pipeline import storage
from pipeline.errors import InputError
from pipeline.stage import find_manifest, read_manifest


def evaluate_synthesizers(
    invocation: Invocation[TuneConfig], references: Sequence[str], *, dry_run: bool
) -> None:
    """Measure models, print the table, write JSON and page.

    Args:
        invocation: the tuning.
        references: models; none: the one that tuning began with, and the tuned one.
        dry_run: only say what would be measured.

    Raises:
        InputError: a stage is not complete, or one of the models is not there.
    """
    from synth.measuring.held_out import read_held_out
    from synth.measuring.job import measure_synthesizers

    config, folder = invocation.config, invocation.config.folder
    if not storage.is_local(folder.root):
        raise InputError(
            f"run.dir ({folder.root}): tune-eval needs a file system; set run.dir to a folder"
        )
    models = list(references)
    if not models:
        base = config.train.model.init_from
        models = [*([base] if base else []), folder.hf]
    if dry_run:
        print(f"would measure {', '.join(models)} and write {folder.synthesizer_report}")
        return
    if not references:
        read_manifest(folder.hf)
    with storage.exclusive(folder.root):
        # Held out is what packing has held out, whatever the config says now.
        packed = find_manifest(folder.rows)
        texts = read_held_out(
            folder.tasks,
            packed.config["heldout_fraction"] if packed else config.pack.heldout_fraction,
            config.tune_eval.max_examples,
            max(config.tune_eval.shots),
        )
        results = measure_synthesizers(config.tune_eval, texts, models, folder.eval)
        data = json.dumps(results.as_json(), indent=1, ensure_ascii=False)
        storage.write_atomic(folder.synthesizer_report, data.encode())
        page = folder.synthesizer_report.removesuffix(".json") + ".html"
        write_tune_eval_page(results, page)
    print("\n".join(tune_eval_lines(results)))
    print(f"measures: {folder.synthesizer_report}\npage: {page}")

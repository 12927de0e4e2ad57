"""Rates read out of a finished run whose times are known."""

import json
import os
from pathlib import Path

import pytest

from launch.planning.cluster import Cluster
from launch.planning.demand import Sizes
from launch.planning.measured import measures_of, rates_of_run
from launch.planning.plan import make_plan
from launch.planning.rates import Rates, load_rates
from pipeline.errors import InputError
from pipeline.opening import open_stage
from pipeline.run_folder import RunFolder
from pipeline.stage import FileEntry, PartCommit
from tests.unit.launch.planning.plans import config_of

PARTS, DOCUMENTS, CONVERTED = 10, 100, 20  # of a part
RAW_TOKENS, AUGMENTED_TOKENS, REPLY_TOKENS, PAIRS = 50, 130, 90, 3  # of a document
START_S = 1_000_000.0
SHAPE = {
    "model_type": "llama",
    "vocab_size": 1000,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "tie_word_embeddings": True,
}
STEP_TOKENS, STEP_S, STEPS = 4096, 2.0, 10


def write_stage(path: str, stage: str, times_s: tuple[float, float, float], **config: object):
    """An open stage, a function that commits parts, and one that closes it and sets the times.

    `times_s`: when it begins, when its first part is there, and seconds from part to part.
    """
    folder = open_stage(path, stage, dict(config), {})
    begun_s, first_s, every_s = times_s
    names: list[str] = []

    def commit(part: str, files: list[tuple[str, int, int]], records: int, **counts: int) -> None:
        entries = [
            FileEntry(name=name, records=records, tokens=tokens, bytes=size, sha256="")
            for name, tokens, size in files
        ]
        folder.commit(
            PartCommit(
                part=part, files=entries, records_in=records, records_out=records, counts=counts
            )
        )
        names.append(part)

    def close(ended_s: float) -> None:
        folder.close()
        os.utime(folder.uri("stage.json"), (begun_s, begun_s))
        os.utime(folder.uri("manifest.json"), (ended_s, ended_s))
        for number, name in enumerate(names):
            at_s = first_s + number * every_s
            os.utime(folder.uri(f"{name}.json"), (at_s, at_s))

    return commit, close


def write_run(root: Path) -> RunFolder:
    """Ingest 100 to 120 s, synthesis to 320, filter to 330, packing to 360, training to 400."""
    folder, names = RunFolder(str(root)), [f"s/part-{number:08d}" for number in range(PARTS)]
    commit, close = write_stage(folder.documents, "ingest", (START_S + 100, START_S + 108, 1.0))
    for name in names:
        counts = {"convert": CONVERTED, "raw": DOCUMENTS - CONVERTED}
        commit(name, [(f"{name}.jsonl.zst", 0, 9000)], DOCUMENTS, **counts)
    close(START_S + 120)

    commit, close = write_stage(folder.augmented, "synth", (START_S + 120, START_S + 150, 15.0))
    for name in names:
        output = CONVERTED * REPLY_TOKENS
        counts = {"output_tokens": output, "documents": CONVERTED, "pairs": CONVERTED * PAIRS}
        commit(name, [(f"{name}.jsonl.zst", 0, 4000)], CONVERTED, **counts)
    close(START_S + 320)
    total = PARTS * CONVERTED * REPLY_TOKENS
    lines = [
        {
            "start": START_S + 130,
            "elapsed_s": 20.0 + second,
            "documents": second,
            # Two engines write 180 tokens a second between them, after a slow beginning.
            "output_tokens": min(total, 180 * second),
            "workers": 2,
        }
        for second in range(0, 120, 2)
    ]
    Path(folder.synth_metrics).write_text("".join(json.dumps(line) + "\n" for line in lines))

    commit, close = write_stage(folder.filtered, "filter", (START_S + 320, START_S + 322, 0.5))
    for name in names:
        commit(name, [(f"{name}.jsonl.zst", 0, 3000)], CONVERTED, pairs=CONVERTED * PAIRS)
    close(START_S + 330)

    commit, close = write_stage(
        folder.rows,
        "pack",
        (START_S + 330, START_S + 350, 0.25),
        tokenizer="any",
        seq_len=512,
    )
    for route, num, of_each in (
        ("raw", DOCUMENTS - CONVERTED, RAW_TOKENS),
        ("augmented", CONVERTED, AUGMENTED_TOKENS),
    ):
        for name in names:
            part, tokens = f"s-{route}/{name.partition('/')[2]}", num * of_each
            file = f"s-{route}/train/{name.partition('/')[2]}.rows.zst"
            commit(part, [(file, tokens, 2 * tokens)], num, tokens=tokens)
    close(START_S + 360)
    write_training(folder)
    return folder


def write_training(folder: RunFolder) -> None:
    model = {"shape": SHAPE}
    commit, close = write_stage(
        folder.train, "train", (START_S + 360, START_S + 390, 0.0), model=model
    )
    commit("part-00000000", [("metrics.jsonl", 0, 10)], 1)
    Path(folder.metrics).write_text(
        "".join(
            json.dumps(
                {
                    "step": step + 1,
                    "time/step_s": STEP_S if step else 9.0,  # the first one warms up
                    "perf/tokens_per_s": STEP_TOKENS / (STEP_S if step else 9.0),
                }
            )
            + "\n"
            for step in range(STEPS)
        )
    )
    checkpoint = Path(folder.checkpoints) / "step-00000010"
    checkpoint.mkdir(parents=True)
    (checkpoint / "rank-0.safetensors").write_bytes(bytes(2_000_000))
    marker = {
        "step": 10,
        "rows": 80,
        "num_ranks": 4,
        "instance": "",
        "code_version": "",
        "optimizer_steps": 10,
        "data": {},
    }
    checkpoint.with_suffix(".json").write_text(json.dumps(marker))
    close(START_S + 400)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return write_run(tmp_path / "run")


@pytest.fixture
def rates(run: RunFolder) -> Rates:
    return rates_of_run(run, load_rates())


def test_texts_are_those_of_the_run(rates: Rates) -> None:
    values = {name: rate.value for name, rate in rates.by_name.items()}
    assert values["text.document_tokens"] == RAW_TOKENS
    assert values["text.pair_tokens_per_document"] == AUGMENTED_TOKENS - RAW_TOKENS
    assert values["text.output_tokens_per_document"] == REPLY_TOKENS
    assert values["text.pairs_per_document"] == PAIRS
    assert values["text.document_bytes_per_token"] == 9000 / (DOCUMENTS * RAW_TOKENS)
    assert values["text.row_bytes_per_token"] == 2.0


def test_rates_are_of_the_time_between_parts_and_the_rest_is_the_start(rates: Rates) -> None:
    values = {name: rate.value for name, rate in rates.by_name.items()}
    assert values["ingest.tokens_per_s"] == pytest.approx(DOCUMENTS * RAW_TOKENS)
    assert values["ingest.start_s"] == pytest.approx(20 - PARTS)
    assert values["filter.pairs_per_s"] == pytest.approx(2 * CONVERTED * PAIRS)
    assert values["filter.start_s"] == pytest.approx(10 - PARTS / 2)
    assert values["synth.engine_tokens_per_s"] == pytest.approx(90.0)
    assert values["synth.start_s"] == pytest.approx(200 - 18_000 / 180)
    assert values["train.start_s"] == pytest.approx(40 - STEPS * STEP_S)


def test_speed_of_training_is_in_flops_of_a_rank(rates: Rates) -> None:
    width, inner, layers, words = 64, 128, 2, 1000
    weights = layers * (4 * width * width + 3 * width * inner)
    flops = 6 * (weights + words * width) * STEP_TOKENS
    flops += 12 * layers * width * STEP_TOKENS * 513 / 2
    found = rates.by_name["train.rank_flops_per_s"].value
    assert found == pytest.approx(flops / STEP_S / 4)


def test_the_run_itself_is_predicted_from_its_rates(run: RunFolder, rates: Rates) -> None:
    shape = [f"train.model.shape.{key}={json.dumps(value)}" for key, value in SHAPE.items()]
    config = config_of(
        "quickstart",
        *shape,
        "train.model.shape.max_position_embeddings=512",
        "ingest.sources.sotu.convert_fraction=0.2",
        f"ingest.docs_per_part={DOCUMENTS}",
        "train.num_ranks=4",
        "train.rows_per_batch=8",
        "train.micro_rows=2",
    )
    sizes = Sizes(documents=PARTS * DOCUMENTS)
    plan = make_plan(
        "mine", config, Cluster("cpu", 1, 1), rates, [STEPS * STEP_TOKENS], sizes
    ).budgets[0]
    actual = measures_of(run)
    for stage in plan.stages:
        # The run had two engines; on one, as planned for, their work takes twice as long.
        came_s = actual.times[stage.name].wall_s + (100 if stage.name == "synth" else 0)
        assert stage.wall_s == pytest.approx(came_s, rel=0.02), stage.name
        assert stage.basis == "this run", stage.name
    assert plan.demand.output_tokens == actual.output_tokens
    assert plan.demand.packed_tokens == actual.packed_tokens
    for name in ("documents", "augmented", "filtered", "rows"):
        assert plan.demand.bytes_by_folder[name] == pytest.approx(actual.bytes_by_folder[name])
    assert not plan.assumptions


def test_a_run_that_was_stopped_in_synthesis_is_refused(run: RunFolder) -> None:
    with Path(run.synth_metrics).open("a") as file:
        file.write(
            json.dumps({"start": 5.0, "elapsed_s": 1.0, "documents": 1, "workers": 1}) + "\n"
        )
    with pytest.raises(InputError, match="stopped and began again"):
        rates_of_run(run, load_rates())


def test_a_run_that_was_stopped_in_training_is_refused(run: RunFolder) -> None:
    manifest = Path(run.train, "manifest.json")
    ended_s = manifest.stat().st_mtime
    os.utime(manifest, (ended_s + 500, ended_s + 500))
    rates_of_run(run, load_rates())
    os.utime(manifest, (ended_s + 86_400, ended_s + 86_400))
    with pytest.raises(InputError, match=r"training took .* it was stopped and began again"):
        rates_of_run(run, load_rates())


def test_a_run_whose_checkpoints_or_metrics_are_gone_is_refused(run: RunFolder) -> None:
    for marker in Path(run.checkpoints).glob("step-*.json"):
        marker.unlink()
    with pytest.raises(InputError, match="no checkpoint is left"):
        rates_of_run(run, load_rates())
    Path(run.metrics).write_text("")
    with pytest.raises(InputError, match="no step is noted"):
        rates_of_run(run, load_rates())


def test_a_run_that_is_not_complete_is_refused(run: RunFolder) -> None:
    Path(run.train, "manifest.json").unlink()
    with pytest.raises(InputError, match="not complete"):
        rates_of_run(run, load_rates())


def test_a_run_in_an_object_store_is_refused() -> None:
    with pytest.raises(InputError, match="object store"):
        measures_of(RunFolder("memory://run"))

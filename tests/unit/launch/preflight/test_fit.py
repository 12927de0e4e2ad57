"""Does training fit, does an engine: against memory that is given, and what is proposed if not."""

import re

import pytest

from launch.preflight.engine import engine_checks
from launch.preflight.findings import Finding, run_checks
from launch.preflight.fit import memory_checks
from launch.preflight.memory import rank_memory
from launch.preflight.shapes import size_of_trained
from launch.preflight.subject import GIB
from tests.preflighted import subject_of
from train.config import TrainConfig


def look(reference: str, *overrides: str, gpu_gib: float = 0.0) -> Finding:
    subject = subject_of(reference, "run.dir=/nowhere/run", *overrides, gpu_gib=gpu_gib)
    return next(iter(run_checks(list(memory_checks(subject, hub="away")))))


def test_all_stages_are_in_the_table_and_the_configured_one_is_marked() -> None:
    found = look("scratch-500m", gpu_gib=80)
    assert found.state == "ok"
    assert re.search(r"ZeRO stage 0: [^,]+, 1: \[[^,]+\], 2: [^,]+, 3: ", found.found)
    assert "32,000 words, the default of mistral" in found.found


@pytest.mark.parametrize(
    ("preset", "overrides", "gpu_gib"),
    [
        ("scratch-500m", [], 30),
        ("scratch-1.3b", [], 24),
        ("scratch-1.3b", ["train.micro_rows=1"], 16),
        ("scratch-1.3b", ["train.zero_stage=0", "train.micro_rows=1"], 24),
    ],
)
def test_what_is_proposed_fits(preset: str, overrides: list[str], gpu_gib: float) -> None:
    found = look(preset, *overrides, gpu_gib=gpu_gib)
    assert found.state == "problem"
    assert "does not fit" in found.found
    settings = re.findall(r"train\.\w+=\S+", found.remedy.replace(",", ""))
    assert settings
    changed = subject_of(preset, *overrides, *settings)
    size = size_of_trained(changed.config, hub="away")
    assert size is not None
    needed = rank_memory(changed.config.train, size, 8, changed.config.pack.seq_len).device
    assert needed <= 0.9 * gpu_gib * GIB
    assert look(preset, *overrides, *settings, gpu_gib=gpu_gib).state == "ok"


def test_where_nothing_fits_that_is_said() -> None:
    found = look("continual-8b", gpu_gib=2)
    assert found.state == "problem"
    assert "no setting of ours fits" in found.remedy


def test_without_a_gpu_the_numbers_are_given_all_the_same() -> None:
    found = look("continual-8b")
    assert found.state == "warning"
    assert "8,000.0M parameters, by its name" in found.found
    assert "--gpu-gib" in found.remedy


def test_more_nodes_need_less_on_each() -> None:
    plans = []
    for num_nodes in (1, 4):
        subject = subject_of("continual-8b", num_nodes=num_nodes)
        size = size_of_trained(subject.config, hub="away")
        assert size is not None
        config: TrainConfig = subject.config.train
        plans.append(rank_memory(config, size, subject.num_ranks, 4096).device)
    assert plans[1] < plans[0]


def test_an_engine_needs_room_for_one_whole_text(tmp_path) -> None:
    from tests.tiny_model import save_tiny_model

    model = save_tiny_model(tmp_path / "model")

    def engine(*overrides: str, gpu_gib: float = 0.0) -> list[Finding]:
        settings = ["run.dir=/nowhere/run", f"synth.model={model}", *overrides]
        subject = subject_of("quickstart", *settings, gpu_gib=gpu_gib)
        return list(run_checks(list(engine_checks(subject, hub="away"))))

    assert [each.state for each in engine()] == ["ok", "ok"]
    # 2 layers x 2 x 64 x 2 or 4 bytes: a text of 2,048 tokens takes 1 or 2 MiB.
    assert [each.state for each in engine(gpu_gib=0.01)] == ["ok"]
    [found] = engine(gpu_gib=0.001)
    assert found.state == "problem"
    assert "tensor_parallel_size" in found.remedy
    needed = engine("synth.engine.kv_cache_gib=100000")
    assert needed[-1].state == "problem"
    assert "kv_cache_gib" in needed[-1].remedy
    assert not engine("synth.protocol=rules")

"""Real ranks: what a checkpoint is good for, and what may go wrong with one."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import IPT, run_ipt, write_config
from tests.packed import random_rows, write_packed
from tests.processes import free_port, wait_for
from train.checkpoints.marker import CheckpointMarker
from train.metrics import read_metrics

pytestmark = [pytest.mark.deepspeed, pytest.mark.slow]

SETTINGS = ("train.num_steps=8", "train.checkpoint_every=2", "train.keep_checkpoints=9")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Path:
    """A folder with `run.toml` and `run/`: eight steps on two ranks, ZeRO stage 2, a checkpoint
    after every other one; seven rows a batch, which no number of ranks divides but one."""
    folder = tmp_path_factory.mktemp("reference")
    config = write_config(folder, "run", tokenizer_folder)
    text = config.read_text().replace("rows_per_batch = 8", "rows_per_batch = 7")
    config.write_text(text.replace("seq_len = 128", "seq_len = 32"))
    parts = {
        "made-up-raw": [random_rows(40, 32, 0, 250)],
        "made-up-augmented": [random_rows(40, 32, 1, 99)],
    }
    write_packed(folder / "run" / "rows", parts, 4, str(tokenizer_folder))
    run_ipt("train", str(config), *SETTINGS)
    return folder


@pytest.fixture
def run(reference: Path, tmp_path: Path) -> Path:
    """A copy of that run as if it had been killed after step 7."""
    run = tmp_path / "run"
    shutil.copytree(reference / "run", run)
    (run / "train" / "manifest.json").unlink()
    (run / "train" / "part-00000000.json").unlink()
    shutil.rmtree(run / "train" / "checkpoints" / "step-00000008")
    (run / "train" / "checkpoints" / "step-00000008.json").unlink()
    return run


def arguments_of(reference: Path, run: Path, *settings: str) -> list[str]:
    return ["train", str(reference / "run.toml"), f"run.dir={run}", *SETTINGS, *settings]


def begun(reference: Path, run: Path, *settings: str) -> subprocess.Popen[str]:
    """`ipt train`, started."""
    command = [*IPT, *arguments_of(reference, run, *settings)]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, text=True, **output)


def wait_for_line(process: subprocess.Popen[str], words: str) -> None:
    """Read what it prints up to a line that holds `words`."""
    assert process.stdout is not None
    assert any(words in line for line in process.stdout), f"it ended before {words!r}"


def metrics_of(run: Path) -> list[dict]:
    return read_metrics(str(run / "train" / "metrics.jsonl"))


def losses_of(run: Path) -> list[float]:
    return [line["loss"] for line in metrics_of(run)]


def counts_of(run: Path) -> list[dict[str, int]]:
    """Tokens of each source, by step."""
    return [{key: line[key] for key in line if key.endswith("/tokens")} for line in metrics_of(run)]


def marker_of(run: Path, step: int) -> CheckpointMarker:
    path = run / "train" / "checkpoints" / f"step-{step:08d}.json"
    return CheckpointMarker.model_validate_json(path.read_bytes())


def test_the_same_ranks_end_in_the_same_bits(reference: Path, run: Path) -> None:
    shown = run_ipt(*arguments_of(reference, run)).stdout
    assert "resumed from step 6" in shown
    assert losses_of(run) == losses_of(reference / "run")
    # The sidecars hold the hashes of all weights, moments and random states.
    assert marker_of(run, 8).sidecars == marker_of(reference / "run", 8).sidecars
    assert len(marker_of(run, 8).sidecars) == 2


@pytest.mark.parametrize(("num_ranks", "zero_stage"), [(1, 3), (3, 1), (2, 0)])
def test_other_ranks_and_zero_stages_go_on(
    reference: Path, run: Path, num_ranks: int, zero_stage: int
) -> None:
    """From two ranks and stage 2 to others; then back, with bits of theirs."""
    for step in (4, 6):
        shutil.rmtree(run / "train" / "checkpoints" / f"step-{step:08d}")
        (run / "train" / "checkpoints" / f"step-{step:08d}.json").unlink()
    other = (f"train.num_ranks={num_ranks}", f"train.zero_stage={zero_stage}")
    shown = run_ipt(*arguments_of(reference, run, *other)).stdout
    assert "resumed from step 2" in shown
    assert losses_of(run) == pytest.approx(losses_of(reference / "run"), rel=1e-5)
    assert marker_of(run, 8).num_ranks == num_ranks
    assert counts_of(run) == counts_of(reference / "run"), "other rows were trained on"


def test_a_damaged_checkpoint_is_passed_over(reference: Path, run: Path) -> None:
    data = run / "train" / "checkpoints" / "step-00000006" / "rank-00001.safetensors"
    content = bytearray(data.read_bytes())
    content[-100] ^= 1
    data.write_bytes(content)
    (run / "train" / "checkpoints" / "step-00000007").mkdir()  # of a save that was cut off
    shown = run_ipt(*arguments_of(reference, run)).stdout
    assert "passed over the checkpoint of step 6: " in shown
    assert "rank-00001.safetensors does not have the content that was written" in shown
    assert "resumed from step 4" in shown
    assert losses_of(run) == losses_of(reference / "run")
    assert not (run / "train" / "checkpoints" / "step-00000007").exists()
    aside = run / "train" / "checkpoints" / "damaged-step-00000006"
    assert (aside / data.name).read_bytes() == content, "what is left of it is not ours to remove"
    assert marker_of(run, 6).sidecars == marker_of(reference / "run", 6).sidecars


def test_without_a_whole_checkpoint_nothing_begins_anew(reference: Path, run: Path) -> None:
    for data in (run / "train" / "checkpoints").glob("*/rank-00000.safetensors"):
        data.write_bytes(data.read_bytes()[:-1])
    before = (run / "train" / "metrics.jsonl").read_bytes()
    refused = run_ipt(*arguments_of(reference, run), check=False)
    assert refused.returncode == 2
    assert "none of the 3 checkpoints is whole; bring one back" in refused.stdout
    assert (run / "train" / "metrics.jsonl").read_bytes() == before
    assert marker_of(run, 6).step == 6


def test_how_it_is_computed_does_not_change_what_is_learned(reference: Path, run: Path) -> None:
    settings = (
        "train.activation_checkpointing=true",
        "train.model.attention=sdpa",
        "train.offload=optimizer",
        "train.loss.chunk_tokens=16",
    )
    assert "resumed from step 6" in run_ipt(*arguments_of(reference, run, *settings)).stdout
    assert losses_of(run) == pytest.approx(losses_of(reference / "run"), rel=1e-5)


def test_weights_of_sources_are_learned_and_resumed(reference: Path, run: Path) -> None:
    shutil.rmtree(run / "train")
    run_ipt(*arguments_of(reference, run, "train.loss.uncertainty_weighting=true"))
    learned = marker_of(run, 8).uncertainty
    assert min(learned) > 0, "losses over 1/2 make a source count less"
    assert marker_of(reference / "run", 8).uncertainty == [0, 0]
    assert losses_of(run)[0] == losses_of(reference / "run")[0]
    assert losses_of(run)[1:] != losses_of(reference / "run")[1:]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk on which one checkpoint has room, and two have not."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"mounting needs privileges: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_costs_the_checkpoint_and_no_more(
    reference: Path, run: Path, small_disk: Path
) -> None:
    checkpoints = run / "train" / "checkpoints"
    shutil.rmtree(checkpoints)
    checkpoints.symlink_to(small_disk)
    done = run_ipt(*arguments_of(reference, run), check=False)
    assert done.returncode == 1
    assert "could not write the checkpoint of step 4" in done.stdout
    assert "No space left on device" in done.stdout
    assert "the checkpoint before it stays" in done.stdout
    assert losses_of(run) == losses_of(reference / "run"), "all steps were trained"
    assert sorted(path.name for path in small_disk.iterdir()) == [
        "step-00000002",
        "step-00000002.json",
    ]
    assert any("checkpoint" in line.get("anomaly", "") for line in metrics_of(run))
    (small_disk / "step-00000002.json").unlink()
    shutil.rmtree(small_disk / "step-00000002")
    assert (
        "resumed"
        not in run_ipt(
            *arguments_of(reference, run, "train.keep_checkpoints=1", "train.checkpoint_every=100")
        ).stdout
    )
    assert losses_of(run) == losses_of(reference / "run")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_to_the_command_saves_and_stops(
    reference: Path, run: Path, number: signal.Signals
) -> None:
    settings = ("train.num_steps=400", "train.checkpoint_every=1000")
    shutil.rmtree(run / "train")
    process = begun(reference, run, *settings)
    wait_for_line(process, "step   5/")
    process.send_signal(number)
    rest, _ = process.communicate(timeout=150)
    assert process.returncode == 75, rest
    last = metrics_of(run)[-1]["step"]
    assert f"stopped after step {last}, saved" in rest
    assert marker_of(run, last).step == last < 400


def test_a_signal_before_there_are_ranks_is_not_lost(reference: Path, run: Path) -> None:
    shutil.rmtree(run / "train")
    process = begun(reference, run, "train.num_steps=100000")
    wait_for_line(process, "pretrain.py")  # the launcher is being started
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=150)
    assert process.returncode == 75, rest
    assert "run again to go on" in rest
    assert not ranks_of(run)


def test_a_signal_to_deepspeed_itself_saves(reference: Path, run: Path) -> None:
    """As a person starts it without `ipt`."""
    shutil.rmtree(run / "train")
    deepspeed = str(Path(IPT[0]).with_name("deepspeed"))
    config = [str(reference / "run.toml"), f"run.dir={run}", *SETTINGS, "train.num_steps=100000"]
    script = str(Path(__file__).parents[2] / "train" / "pretrain.py")
    process = subprocess.Popen(
        [deepspeed, "--num_accelerators=2", f"--master_port={free_port()}", script, *config],
        env=dict(os.environ, DS_ACCELERATOR="cpu", OMP_NUM_THREADS="1"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert wait_for(lambda: (run / "train" / "checkpoints" / "step-00000004.json").exists(), 200)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    assert wait_for(lambda: not ranks_of(run), 90)
    last = metrics_of(run)[-1]["step"]
    assert marker_of(run, last).step == last


def test_a_loss_that_is_not_finite_changes_no_weight_and_ends_the_run(
    reference: Path, run: Path
) -> None:
    shutil.rmtree(run / "train")
    settings = ("train.optimizer.peak_lr=1e30", "train.anomaly.max_in_a_row=3")
    done = run_ipt(*arguments_of(reference, run, *settings), check=False)
    assert done.returncode == 1
    lines = metrics_of(run)
    wrong = [line["step"] for line in lines if "anomaly" in line]
    assert len(wrong) == 3
    assert "not finite" in lines[-1]["anomaly"]
    assert f"error: step {wrong[-1]}: " in done.stdout
    assert "training ends" in done.stdout


@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_a_spike_is_skipped_or_rolled_back(
    tmp_path: Path, tokenizer_folder: Path, policy: str
) -> None:
    """Texts of four words, but for one step in the middle of words never seen."""
    config = write_config(tmp_path, "run", tokenizer_folder)
    easy, hard = random_rows(100, 32, 0, 6), random_rows(20, 32, 1, 250)
    parts = {"made-up-raw": [easy], "made-up-augmented": [hard]}
    write_packed(tmp_path / "run" / "rows", parts, 4, str(tokenizer_folder))
    mixture = (
        "mixture={phases=[{until=0.5, weights={made-up-raw=1, made-up-augmented=0}}, "
        "{until=0.55, weights={made-up-raw=0, made-up-augmented=1}}, "
        "{until=1.0, weights={made-up-raw=1, made-up-augmented=0}}]}"
    )
    done = run_ipt(
        "train",
        str(config),
        mixture,
        "train.num_steps=20",
        "train.checkpoint_every=7",
        "train.optimizer.peak_lr=2e-2",
        f'train.anomaly={{policy="{policy}", spike_ratio=1.5, window=4}}',
    )
    lines = read_metrics(str(tmp_path / "run" / "train" / "metrics.jsonl"))
    assert [line["step"] for line in lines] == list(range(1, 21))
    assert [line["step"] for line in lines if "anomaly" in line] == [11]
    spike = lines[10]
    assert spike["data/made-up-augmented/tokens"] > 0 == lines[9]["data/made-up-augmented/tokens"]
    assert "times the usual" in spike["anomaly"]
    assert ("went back to the weights of step 7" in spike["anomaly"]) == (policy == "rollback")
    assert spike["anomaly"] in done.stdout
    marker = CheckpointMarker.model_validate_json(
        (tmp_path / "run" / "train" / "checkpoints" / "step-00000020.json").read_bytes()
    )
    assert marker.optimizer_steps == (16 if policy == "rollback" else 19)
    # What comes after is learned from what was there before, not from the spike.
    before = lines[6]["loss"] if policy == "rollback" else lines[9]["loss"]
    assert lines[11]["loss"] < before + 0.3


def ranks_of(run: Path) -> dict[int, int]:
    """Process ids of a run's ranks."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            parts = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if (
            any(part.endswith(b"pretrain.py") for part in parts)
            and f"run.dir={run}".encode() in parts
        ):
            for part in parts:
                if part.startswith(b"--local_rank="):
                    found[int(part.removeprefix(b"--local_rank="))] = int(path.parent.name)
    return found


def started(reference: Path, run: Path, *settings: str) -> subprocess.Popen[str]:
    """A long training that has done some steps."""
    shutil.rmtree(run / "train")
    process = begun(reference, run, "train.num_steps=100000", *settings)
    wait_for_line(process, "step      5/")
    return process


def test_a_rank_that_hangs_is_named_and_ends_the_run(reference: Path, run: Path) -> None:
    process = started(reference, run, "train.watchdog_s=10")
    rank = ranks_of(run)[1]
    os.kill(rank, signal.SIGSTOP)
    rest, _ = process.communicate(timeout=150)
    assert process.returncode == 70, rest
    assert "error: rank 0 has been at the" in rest
    assert "rank 1" in rest.split("train.watchdog_s = 10")[1].splitlines()[0]
    assert not ranks_of(run)


def test_the_death_of_one_rank_ends_the_run_at_once(reference: Path, run: Path) -> None:
    process = started(reference, run)
    os.kill(ranks_of(run)[1], signal.SIGKILL)
    rest, _ = process.communicate(timeout=90)
    assert process.returncode not in (0, 75)
    assert "rank 1" in rest
    assert not ranks_of(run)

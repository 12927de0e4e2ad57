"""The rendered folder: the same bytes for the same run, ours alone, and what was recorded."""

import tomllib
from pathlib import Path

import pytest

from launch.kubernetes.folder import render
from launch.kubernetes.request import Request
from launch.references import invocation_of
from pipeline.errors import InputError
from tests.manifests import ROOT, build, build_text, needs_kubectl, only

GOLDEN = ROOT / "tests" / "golden" / "k8s"
CONFIG = """\
[run]
dir = "/mnt/runs/small"

[ingest.sources.web]
inputs = ["/mnt/runs/corpus/*.jsonl.zst"]
convert_fraction = 0.2

[synth]
model = "org/synthesizer"
stop_grace_s = 120
{workers}

[pack]
tokenizer = "org/tokenizer"

[train]
num_steps = 100
rows_per_batch = 64
num_ranks = 4

[train.model]
preset = "llama-135m"
"""
WORKERS = "[synth.engine]\ntensor_parallel_size = 2\n\n[synth.workers]\nmax = 6"
CASES = {
    "dev": Request(Path(), overlay="dev"),
    "gpu": Request(Path(), num_nodes=2, queue="team-a", image="registry.example/ipt:1"),
    "spot": Request(Path(), overlay="spot", num_nodes=2, training="kubeflow", namespace="team-a"),
}
RECORDED = [
    ("dev", ""),
    ("dev", "ingest"),
    ("dev", "synth"),
    ("dev", "train"),
    ("gpu", "synth"),
    ("gpu", "pack"),
    ("gpu", "train"),
    ("spot", "synth"),
    ("spot", "train"),
]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(CONFIG.format(workers=WORKERS), "utf-8")
    return path


def write(config: Path, folder: Path, request: Request, *overrides: str) -> list[str]:
    fields = vars(request) | {"output": folder}
    return render(invocation_of(str(config), list(overrides)), Request(**fields), dry_run=False)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@needs_kubectl
@pytest.mark.parametrize(("case", "stage"), RECORDED)
def test_it_builds_what_was_recorded(
    case: str, stage: str, config: Path, tmp_path: Path, update_golden: bool
) -> None:
    write(config, tmp_path / "deploy", CASES[case])
    built = build_text(tmp_path / "deploy" / stage)
    recorded = GOLDEN / f"{case}-{stage or 'setup'}.yaml"
    if update_golden:
        recorded.parent.mkdir(parents=True, exist_ok=True)
        recorded.write_text(built, "utf-8")
    assert built == recorded.read_text("utf-8")


@pytest.mark.parametrize("case", CASES)
def test_the_same_run_gives_the_same_bytes_anywhere(
    case: str, config: Path, tmp_path: Path
) -> None:
    for place in ("a", "b/deeper"):
        write(config, tmp_path / place, CASES[case])
    assert contents(tmp_path / "a") == contents(tmp_path / "b/deeper")


def test_the_config_keeps_its_settings_and_gets_those_of_the_cluster(
    config: Path, tmp_path: Path
) -> None:
    write(config, tmp_path / "deploy", CASES["spot"], "train.num_steps=7")
    written = tomllib.loads((tmp_path / "deploy" / "run.toml").read_text("utf-8"))
    assert written["train"]["num_steps"] == 7
    assert written["run"] == {"dir": "/mnt/runs/small"}
    assert written["synth"]["workers"] == {"min": 1, "max": 6, "cpus": 1, "gpus": 2}
    assert written["synth"]["journal"] is True
    assert written["train"]["logging"] == {
        "prometheus_port": 9464,
        "prometheus_host": "0.0.0.0",
    }
    before = invocation_of(str(config), ["train.num_steps=7"]).config
    after = invocation_of(str(tmp_path / "deploy" / "run.toml"), []).config
    # Nothing that decides what is written: a run that was begun elsewhere goes on.
    assert after.synth.content_fields() == before.synth.content_fields()
    assert after.train.content_fields() == before.train.content_fields()


def test_one_node_gets_no_gpus_whatever_the_config_says(config: Path, tmp_path: Path) -> None:
    write(config, tmp_path / "deploy", CASES["dev"], "synth.workers.gpus=2")
    written = tomllib.loads((tmp_path / "deploy" / "run.toml").read_text("utf-8"))
    assert written["synth"]["workers"]["gpus"] == 0
    assert invocation_of(str(tmp_path / "deploy" / "run.toml"), []).config.synth.workers.max == 1


@needs_kubectl
def test_identity_and_server_reach_the_setup(config: Path, tmp_path: Path) -> None:
    request = Request(
        Path(), storage="identity", training="none", identity=("example.com/role=runs",)
    )
    overrides = [
        "run.dir=s3://bucket/a",
        'ingest.sources.web.inputs=["s3://bucket/corpus/*.jsonl"]',
        "synth.engine.tensor_parallel_size=1",
        "synth.engine.kind=openai",
        "synth.engine.openai.base_url=http://engine:8000/v1",
    ]
    folder = tmp_path / "deploy"
    write(config, folder, request, *overrides)
    resources = build(folder)
    for name in ("job", "ray-head"):
        account = only(resources, "ServiceAccount", name)
        assert account["metadata"]["annotations"] == {"example.com/role": "runs"}
    for name in ("engine", "workload-identity"):
        assert (
            only(resources, "NetworkPolicy", name)["metadata"]["namespace"] == "instruct-pretrain"
        )
    assert "PersistentVolumeClaim" not in {resource["kind"] for resource in resources}
    assert not (folder / "train").exists()


def test_rendering_again_replaces_what_was_rendered_and_leaves_the_rest(
    config: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "deploy"
    write(config, folder, CASES["gpu"])
    (folder / "notes.txt").write_text("mine", "utf-8")
    no_training = Request(Path(), training="none")
    write(config, folder, no_training)
    assert not (folder / "train").exists()
    assert not (folder / "profile" / "queue.yaml").exists()
    assert (folder / "notes.txt").read_text("utf-8") == "mine"


def test_a_folder_of_somebody_elses_stays_as_it_is(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text("resources: []\n", "utf-8")
    with pytest.raises(InputError, match="did not write; give a new folder"):
        write(config, folder, CASES["gpu"])
    assert contents(folder) == {"kustomization.yaml": b"resources: []\n"}
    with pytest.raises(InputError, match="is a file"):
        write(config, folder / "kustomization.yaml", CASES["gpu"])


def test_an_empty_folder_is_taken(config: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(config, tmp_path / "empty", CASES["gpu"])
    assert (tmp_path / "empty" / "run.toml").is_file()


def test_nothing_is_written_when_something_is_refused(config: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must lie below"):
        write(config, tmp_path / "deploy", CASES["gpu"], "run.dir=runs/mine")
    assert not (tmp_path / "deploy").exists()

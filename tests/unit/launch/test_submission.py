"""What a cluster is asked to run."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientError
from ray.exceptions import AuthenticationError

from launch import ray_jobs
from launch.ray_jobs import submit
from launch.submission import Submission
from pipeline.errors import InputError, JobFailedError

ADDRESS = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _without_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This user's token would stay in the environment of tests that come later."""
    monkeypatch.setattr(ray_jobs, "_TOKEN_FILE", tmp_path / "none")


def make(config: str, folder: Path, *env: str) -> Submission:
    return Submission(
        "synth",
        config,
        ["synth.journal=true", "a.b=x y"],
        run_folder="/shared/run",
        stop_grace_s=60.0,
        working_dir=str(folder),
        environment=env,
    )


def test_the_config_is_named_as_the_cluster_sees_it(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    config = tmp_path / "configs" / "my.toml"
    config.write_text("")
    command = make(str(config), tmp_path).entrypoint()
    assert command == "ipt synth configs/my.toml synth.journal=true 'a.b=x y'"
    assert make("quickstart", tmp_path).entrypoint().startswith("ipt synth quickstart ")


def test_a_config_outside_the_working_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    config = tmp_path / "my.toml"
    config.write_text("")
    with pytest.raises(InputError, match="does not lie below the working directory"):
        make(str(config), tmp_path / "work").entrypoint()


def test_variables_are_passed_by_value_or_by_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HOME", "/models")
    environment = make("quickstart", tmp_path, "HF_HOME", "MODE=a=b").full_runtime_env()
    variables = environment["env_vars"]
    assert variables.pop("RAY_JOB_STOP_WAIT_TIME_S") == "90", "more than the job takes to end"
    assert variables == {"HF_HOME": "/models", "MODE": "a=b"}
    with pytest.raises(InputError, match="--env NOT_SET: not set here"):
        make("quickstart", tmp_path, "NOT_SET").full_runtime_env()


def test_no_cluster_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no Ray job server answers"):
        submit(make("quickstart", tmp_path), ADDRESS, wait=False)


def test_an_image_takes_the_place_of_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("")
    config = str(tmp_path / "run.toml")
    in_image = replace(make(config, tmp_path), image="registry/ipt:1")
    assert in_image.full_runtime_env().keys() == {"image_uri", "env_vars"}
    assert in_image.entrypoint().startswith(f"ipt synth {config} "), "a path of the image"
    nowhere = replace(make(config, tmp_path), working_dir="")
    assert nowhere.full_runtime_env().keys() == {"env_vars"}


def test_more_of_the_runtime_environment_comes_from_a_file(tmp_path: Path) -> None:
    given = tmp_path / "env.yaml"
    given.write_text("pip: [einops]\nenv_vars: {MODE: file, OTHER: kept}\n")
    submission = replace(make("quickstart", tmp_path, "MODE=said"), runtime_env=str(given))
    environment = submission.full_runtime_env()
    assert environment["pip"] == ["einops"]
    assert environment["working_dir"] == str(tmp_path)
    assert environment["env_vars"].items() >= {"MODE": "said", "OTHER": "kept"}.items()
    for text in ("[a, list]", "pip: [", "env_vars: [X]"):
        given.write_text(text)
        with pytest.raises(InputError, match="--runtime-env"):
            submission.full_runtime_env()
    with pytest.raises(InputError, match="No such file"):
        replace(submission, runtime_env=str(tmp_path / "no.yaml")).full_runtime_env()


def test_what_does_not_go_to_the_cluster_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.toml").write_text("")
    submission = replace(make("my.toml", tmp_path), image="registry.example/ipt:1")
    with pytest.raises(InputError, match=r"config my\.toml does not go to the cluster"):
        submission.entrypoint()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pipp: [a]", "Ray knows no pipp"),
        ("working_dir: elsewhere", "give --working-dir or --image instead"),
    ],
)
def test_fields_of_a_runtime_environment(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "env.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        replace(make("quickstart", tmp_path), runtime_env=str(file)).full_runtime_env()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AuthenticationError("no token\nand more"), "asks for a token"),
        (ValueError("Invalid address format: foo"), "no Ray job server answers .Invalid address"),
        (ClientError("502"), "no Ray job server answers .502"),
    ],
)
def test_whatever_the_client_raises_is_explained(error: Exception, said: str, monkeypatch) -> None:
    def refuse(_: str) -> None:
        raise error

    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", refuse)
    with pytest.raises(InputError, match=said):
        ray_jobs.connect(ADDRESS)


def test_a_cluster_that_stays_away_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ForgetfulServer()
    server.answers = [OSError("no route to host")]
    monkeypatch.setattr(ray_jobs, "connect", lambda _: server)
    monkeypatch.setattr(ray_jobs, "_LONGEST_AWAY_S", -1.0)
    with pytest.raises(JobFailedError, match="out of reach"):
        submit(make("quickstart", tmp_path), ADDRESS, wait=True)


class ForgetfulServer:
    """Takes a job, loses its head, and is there again."""

    def __init__(self) -> None:
        self.answers = [OSError("refused"), RuntimeError("status code 404: Job j does not exist.")]

    def list_jobs(self) -> list:
        return []

    def submit_job(self, **_: object) -> str:
        return "j"

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        yield f"{job} begins\n"
        raise RuntimeError("connection closed")

    def get_job_info(self, job: str) -> None:
        raise self.answers.pop(0)


def test_a_job_that_went_with_the_head_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = ForgetfulServer()
    monkeypatch.setattr(ray_jobs, "connect", lambda _: server)
    with pytest.raises(JobFailedError, match="does not know it any more"):
        submit(make("quickstart", tmp_path), ADDRESS, wait=True)
    assert "j begins" in capsys.readouterr().out
    server.answers = [RuntimeError("status code 404: Job j does not exist.")]
    with pytest.raises(InputError, match="has none of that name"):
        ray_jobs.stop(ADDRESS, "j")

"""Configs that pods could not run are refused before anything is written."""

from pathlib import Path

import pytest

from launch.kubernetes.checks import check_config
from launch.kubernetes.request import Request
from launch.references import invocation_of
from pipeline.errors import InputError

ON_VOLUME = "run.dir=/mnt/runs/mine"
ON_STORE = "run.dir=s3://bucket/mine"


def check(overrides: list[str], **options) -> None:
    config = invocation_of("quickstart", overrides).config
    check_config(config, Request(Path("deploy"), **options))


def test_configs_that_work_pass() -> None:
    check([ON_VOLUME])
    check([ON_VOLUME, 'ingest.sources.sotu.inputs=["/mnt/runs/corpus/*.jsonl"]'])
    check([ON_VOLUME, 'ingest.sources.sotu.inputs=["s3://corpora/a.jsonl"]'])
    for storage in ("secret", "identity"):
        check([ON_STORE], storage=storage, training="none")


@pytest.mark.parametrize(
    ("overrides", "options", "message"),
    [
        ([], {}, "run.dir (runs/quickstart) must lie below /mnt/runs"),
        (["run.dir=/data/mine"], {}, "run.dir (/data/mine) must lie below /mnt/runs"),
        (["run.dir=/mnt/runs"], {}, "run.dir (/mnt/runs) must lie below /mnt/runs"),
        (["run.dir=/mnt/runs/../mine"], {}, "must lie below /mnt/runs"),
        (["run.dir=/mnt/runsmine"], {}, "must lie below /mnt/runs"),
        ([ON_STORE], {}, "must lie below /mnt/runs"),
        ([ON_VOLUME], {"storage": "secret"}, "must be on an S3 store with --storage secret"),
        (
            ["run.dir=gs://bucket/a"],
            {"storage": "identity"},
            "must be on an S3 store with --storage identity",
        ),
        ([ON_STORE], {"storage": "secret"}, "training needs a file system that all pods share"),
        (
            [ON_VOLUME, 'ingest.sources.sotu.inputs=["data/*.jsonl"]'],
            {},
            "ingest.sources.sotu.inputs (data/*.jsonl) must lie below /mnt/runs",
        ),
        (
            [ON_STORE, 'ingest.sources.sotu.inputs=["/mnt/runs/a.jsonl"]'],
            {"storage": "secret", "training": "none"},
            "pods see no volume with --storage secret",
        ),
        (
            [ON_VOLUME, "pack.tokenizer=/home/me/tokenizer"],
            {},
            "pack.tokenizer (/home/me/tokenizer)",
        ),
        ([ON_VOLUME, "synth.model=./model"], {}, "synth.model (./model) must lie below"),
        (
            [ON_VOLUME, "ingest.decontamination.sets.a.path=eval.yaml"],
            {},
            "ingest.decontamination.sets.a.path (eval.yaml) must lie below",
        ),
        (
            [ON_VOLUME, "eval.task_folder=tasks"],
            {},
            "eval.task_folder (tasks) must lie below /mnt/runs",
        ),
        (
            [ON_VOLUME, "ingest.sources.sotu.dataset.path=./data", "ingest.sources.sotu.inputs=[]"],
            {},
            "ingest.sources.sotu.dataset.path (./data) must lie below /mnt/runs",
        ),
        (
            [ON_VOLUME, "synth.engine.kind=openai"],
            {},
            "synth.engine.openai.base_url (http://localhost:8000/v1) is the pod itself",
        ),
        ([ON_VOLUME, "train.logging.wandb_project=mine"], {}, "the image has no wandb"),
        (
            [ON_VOLUME, "synth.engine.openai.base_url=https://me:word@engine.example/v1"],
            {},
            "synth.engine.openai.base_url",
        ),
        (
            [ON_VOLUME, 'ingest.sources.sotu.inputs=["https://me:word@corpora.example/a.jsonl"]'],
            {},
            "ingest.sources.sotu.inputs",
        ),
        (
            [ON_VOLUME, "synth.workers.resources.big=1"],
            {},
            "synth.workers.resources ({'big': 1.0}): workers rendered here offer no custom",
        ),
    ],
)
def test_configs_that_cannot_work_are_refused(overrides, options, message: str) -> None:
    with pytest.raises(InputError) as raised:
        check(overrides, **options)
    assert message in str(raised.value)
    assert "word" not in str(raised.value).replace("password", ""), "a secret in a message"

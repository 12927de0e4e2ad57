"""Which tasks a config names: suites of the paper, tasks that ship here, a folder of one's own.

`general` is what the paper reports for models trained from scratch, all of it. Of its domain
evaluations lm-evaluation-harness has a part. Biomedicine: PubMedQA (by a task file of ours, see
there) and MedQA-USMLE are the paper's; the harness has no ChemProt, RCT or MQP, so MedMCQA and the
medical subjects of MMLU stand in. Finance: it has none of ConvFinQA, Headline, FiQA SA, FPB and
NER, so the suite is MMLU's subjects on economy and accounting. Whoever has the paper's sets can
name them as local tasks (`eval.task_folder`).
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from pipeline.errors import InputError

SUITES = {
    "general": (
        "arc_easy",
        "arc_challenge",
        "boolq",
        "hellaswag",
        "piqa",
        "social_iqa",
        "winogrande",
        "openbookqa",
        "mmlu",
    ),
    "biomedicine": (
        "pubmedqa_labeled",
        "medqa_4options",
        "medmcqa",
        "mmlu_anatomy",
        "mmlu_clinical_knowledge",
        "mmlu_college_biology",
        "mmlu_college_medicine",
        "mmlu_medical_genetics",
        "mmlu_professional_medicine",
    ),
    "finance": (
        "mmlu_business_ethics",
        "mmlu_econometrics",
        "mmlu_high_school_macroeconomics",
        "mmlu_high_school_microeconomics",
        "mmlu_management",
        "mmlu_marketing",
        "mmlu_professional_accounting",
    ),
}
SHIPPED_TASKS = Path(__file__).resolve().parent / "tasks"


def expand_suites(names: Iterable[str]) -> list[str]:
    """Names of tasks with each suite in its place, every task once."""
    expanded = (task for name in names for task in SUITES.get(name, (name,)))
    return list(dict.fromkeys(expanded))


def local_folders(task_folder: str) -> list[Path]:
    """Folders with local tasks; of two tasks of one name, that of the later folder counts.

    Raises:
        InputError: the user's folder has no task file.
    """
    if not task_folder:
        return [SHIPPED_TASKS]
    folder = Path(task_folder).expanduser().absolute()
    if not any(folder.rglob("*.yaml")):
        raise InputError(
            f"eval.task_folder ({task_folder}): no .yaml file below it; give the folder of your "
            f"task files, or leave it out"
        )
    return [SHIPPED_TASKS, folder]


def local_digest(names: Iterable[str], task_folder: str) -> str:
    """Key of the files that local tasks are made of; empty where there is none.

    All of the user's folder counts, and of what ships the tasks named: a task in `NAME.yaml` has
    its data in `NAME.jsonl` and `NAME.*.jsonl`.
    """
    named = set(names)
    files = []
    for folder in local_folders(task_folder):
        for path in sorted(folder.rglob("*")):
            is_meant = folder != SHIPPED_TASKS or path.name.partition(".")[0] in named
            if path.is_file() and is_meant and "__pycache__" not in path.parts:
                files.append((path.relative_to(folder), path))
    digest = hashlib.blake2b(digest_size=12)
    for name, path in files:
        digest.update(f"{name}:{path.stat().st_size}:".encode() + path.read_bytes())
    return digest.hexdigest() if files else ""

"""Evaluation sets made for the tests of decontamination."""

import json
from pathlib import Path

from pipeline.decontamination.building import load_eval_index
from pipeline.decontamination.config import DecontaminationConfig
from pipeline.decontamination.index import EvalIndex
from pipeline.decontamination.ngrams import split_words

QUESTION = (
    "A merchant from Lisbon sells seventeen barrels of olive oil, buys nine crates of lemons, "
    "and sails home before the winter storms; how many barrels remain in the hold?"
)
WORDS = split_words(QUESTION)
PADDING = "Some quite unrelated sentences of a longer document stand here. " * 40


def write_lines(path: Path, *records: dict) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def load(path: Path, fields: tuple[str, ...] = (), **settings) -> EvalIndex:
    sets = {"quiz": {"path": str(path), "fields": fields}}
    return load_eval_index(DecontaminationConfig(sets=sets, **settings))


def index_of(tmp_path: Path, *records: dict, **settings) -> EvalIndex:
    return load(write_lines(tmp_path / "quiz.jsonl", *records), **settings)

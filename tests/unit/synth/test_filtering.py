"""The filter stage: verdicts over the corpus, chains split, a resumed run equal to a whole one."""

import json
from pathlib import Path

import pytest

from pipeline.contracts import Chain, Pair, Shot, chain_id, decode_chain
from pipeline.decontamination.config import DecontaminationConfig
from pipeline.errors import StaleStageError
from pipeline.opening import open_stage
from pipeline.shards import read_lines, write_shard
from pipeline.stage import Manifest, PartCommit, read_manifest
from synth.config import FilterConfig
from synth.filtering import run_filter

NO_EVAL = DecontaminationConfig()
LEAKED = "Which of the three ships that sailed from Palos in August of that year sank first?"


def pair(number: int) -> Pair:
    topics = ["wheat", "salt", "iron", "coal", "wool", "timber", "paper", "glass", "tea", "rum"]
    topic = topics[number % len(topics)]
    return Pair(f"How did trade in {topic} change in year {number}?", f"It grew by {number} tons.")


def shot(name: str, *pairs: Pair) -> Shot:
    return Shot(name, f"Text of {name}.", pairs, {"style": "faq"})


@pytest.fixture
def run(tmp_path: Path):
    """Write an ingest manifest and an augmented stage of given chains, one part each; filter it."""
    documents, augmented = str(tmp_path / "documents"), str(tmp_path / "augmented")
    open_stage(documents, "ingest", {}, {}).close()

    def go(parts: list[list[list[Shot]]], target: str = "filtered", **settings) -> Manifest:
        keys = {"documents": read_manifest(documents).input_key()}
        stage = open_stage(augmented, "synth", {}, keys)
        if stage.finished() is None:
            for number, chains in enumerate(parts):
                part = f"s/part-{number:08d}"
                with write_shard(augmented, f"{part}.jsonl.zst") as shard:
                    for shots in chains:
                        identity = chain_id([each.doc_id for each in shots])
                        shard.write(Chain(identity, "s", tuple(shots), {"synthesizer": "x"}))
                count = sum(len(shots) for shots in chains)
                stage.commit(
                    PartCommit(
                        part=part, files=[shard.entry()], records_in=count, records_out=count
                    )
                )
            stage.close()
        evaluation = settings.pop("evaluation", NO_EVAL)
        config = FilterConfig.model_validate(settings)
        return run_filter(config, evaluation, documents, augmented, str(tmp_path / target))

    return go


def chains_of(folder: Path) -> list[Chain]:
    return [
        decode_chain(line)
        for shard in sorted(folder.glob("s/*.jsonl.zst"))
        for line in read_lines(str(shard))
    ]


def test_a_near_duplicate_of_an_earlier_document_goes(run, tmp_path: Path) -> None:
    almost = Pair(pair(1).instruction + "!", pair(1).response)
    manifest = run([[[shot("a", pair(1), pair(2))]], [[shot("b", almost, pair(3))]]])
    assert manifest.counts["pairs"] == 3
    assert manifest.counts["pairs_dropped.near_duplicate_in_corpus"] == 1
    first, second = chains_of(tmp_path / "filtered")
    assert [len(first.shots[0].pairs), len(second.shots[0].pairs)] == [2, 1]
    dropped = [
        json.loads(line)
        for line in read_lines(str(tmp_path / "filtered/dropped/s/part-00000001.jsonl.zst"))
    ]
    assert [(record["doc_id"], record["reason"], record["style"]) for record in dropped] == [
        ("b", "near_duplicate_in_corpus", "faq")
    ]


def test_a_shot_that_loses_all_pairs_splits_its_chain(run, tmp_path: Path) -> None:
    shots = [shot("a", pair(1)), shot("b", pair(1)), shot("c", pair(2))]
    manifest = run([[shots]])
    found = chains_of(tmp_path / "filtered")
    assert [[each.doc_id for each in chain.shots] for chain in found] == [["a"], ["b"], ["c"]]
    assert found[1].shots[0].pairs == ()
    assert found[1].shots[0].text == "Text of b."
    assert (manifest.records_in, manifest.records_out) == (3, 3)
    assert manifest.counts["documents_without_pair"] == 1


def test_pairs_of_evaluation_sets_go(run, tmp_path: Path) -> None:
    (tmp_path / "eval.jsonl").write_text(json.dumps({"question": LEAKED}) + "\n")
    evaluation = DecontaminationConfig.model_validate(
        {"sets": {"ships": {"path": str(tmp_path / "eval.jsonl")}}}
    )
    leaked = Pair(LEAKED.upper(), "The Pinta.")
    manifest = run([[[shot("a", leaked, pair(1))]]], evaluation=evaluation)
    assert manifest.counts["pairs_dropped.contaminated.ships"] == 1
    shard = tmp_path / "filtered/dropped/s/part-00000000.jsonl.zst"
    (record,) = map(json.loads, read_lines(str(shard)))
    assert record["reason"] == "contaminated.ships"
    assert record["detail"].startswith("record 1: which of the three ships")
    assert manifest.counts["pairs"] == 1
    (tmp_path / "eval.jsonl").write_text(json.dumps({"question": LEAKED + " Why?"}) + "\n")
    with pytest.raises(StaleStageError, match="evaluation_sets"):
        run([], evaluation=evaluation)


def test_checks_may_be_tightened_without_new_synthesis(run, tmp_path: Path) -> None:
    grounded = Pair("What does the text say it is of?", "Text of a")
    parts = [[[shot("a", grounded, pair(1))]]]
    assert run(parts, "loose").counts["pairs"] == 2
    strict = run(parts, "strict", checks={"grounding": {"min_support": 0.9}})
    assert strict.counts["pairs"] == 1
    assert strict.counts["pairs_dropped.number_not_in_text"] == 1


def test_what_builds_on_a_dropped_pair_goes_with_it(run, tmp_path: Path) -> None:
    first, follower = pair(1), Pair("And what came of that growth?", "Text of b")
    linked = Shot("b", "Text of b.", (first, follower), {"style": "dialogue", "linked": "yes"})
    manifest = run([[[shot("a", first)], [linked], [shot("c", first, pair(2))]]])
    assert manifest.counts["pairs_dropped.near_duplicate_in_corpus"] == 2
    assert manifest.counts["pairs_dropped.follows_a_dropped_pair"] == 1
    assert manifest.counts["pairs"] == 2
    checked = run([], "checked", checks={}, corpus_dedup={"enabled": False})
    assert checked.counts["pairs_dropped.number_not_in_text"] == 4
    assert checked.counts["pairs_dropped.follows_a_dropped_pair"] == 1


def test_a_resumed_run_ends_like_a_whole_one(run, tmp_path: Path) -> None:
    parts = [
        [[shot(f"{part}-{n}", pair(part + n), pair(n))] for n in range(4)] for part in range(5)
    ]
    whole = run(parts, "whole")
    assert whole.counts["pairs_dropped.near_duplicate_in_corpus"] > 5
    run(parts, "cut")
    cut = tmp_path / "cut"
    (cut / "manifest.json").unlink()
    for number in (2, 3, 4):
        (cut / f"s/part-{number:08d}.json").unlink()
    again = run(parts, "cut")
    assert again.counts == whole.counts
    assert chains_of(cut) == chains_of(tmp_path / "whole")


def test_the_round_trip_is_refused_here() -> None:
    with pytest.raises(ValueError, match="set it in"):
        FilterConfig.model_validate({"checks": {"round_trip": {"enabled": True}}})


def test_what_is_added_yields_to_what_was_there(run, tmp_path: Path) -> None:
    """A part whose name sorts before the others comes in later, with a pair that they have."""
    run([[], [[shot("b", pair(1))]]])
    before = (tmp_path / "filtered/s/part-00000001.jsonl.zst").read_bytes()
    for path in (tmp_path / "filtered").rglob("*part-00000000*"):
        path.unlink()
    (tmp_path / "filtered/manifest.json").unlink()
    with write_shard(str(tmp_path / "augmented"), "s/part-00000000.jsonl.zst") as shard:
        shard.write(Chain(chain_id(["a"]), "s", (shot("a", pair(1), pair(2)),), {}))
    manifest = run([])
    assert manifest.counts["pairs"] == 2
    assert manifest.counts["pairs_dropped.near_duplicate_in_corpus"] == 1
    assert (tmp_path / "filtered/s/part-00000001.jsonl.zst").read_bytes() == before

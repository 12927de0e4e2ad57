"""Which texts are asked about, and what stands before them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import Chain, Pair, Shot, chain_id, document_id, is_held_out, text_key
from pipeline.errors import InputError
from pipeline.shards import write_shard
from pipeline.stage import PartCommit, StageFolder, StageIdentity
from synth.measuring.held_out import even_shares, plain_texts, read_held_out


def chain_of(source: str, text: str) -> Chain:
    identity = document_id(source, text)
    shot = Shot(identity, text, (Pair(f"What is {text}?", text),))
    return Chain(chain_id([identity]), source, (shot,), {})


def write_tasks(folder: Path, texts: dict[str, list[str]], is_complete: bool = True) -> str:
    """A `tasks` stage of parts of four examples."""
    stage = StageFolder(str(folder), StageIdentity(stage="tasks", config={}, inputs={}))
    stage.adopt()
    for source, all_texts in texts.items():
        for start in range(0, len(all_texts), 4):
            part, some = f"{source}/part-{start // 4:08d}", all_texts[start : start + 4]
            with write_shard(str(folder), f"{part}.jsonl.zst") as shard:
                for text in some:
                    shard.write(chain_of(source, text))
            stage.commit(
                PartCommit(
                    part=part, files=[shard.entry()], records_in=len(some), records_out=len(some)
                )
            )
    if is_complete:
        stage.close()
    return str(folder)


@pytest.fixture
def tasks(tmp_path: Path) -> str:
    texts = {name: [f"{name} {number}" for number in range(40)] for name in ("squad", "coqa")}
    return write_tasks(tmp_path, texts | {"small": ["only this"]})


def test_texts_are_those_that_packing_holds_out(tasks: str) -> None:
    texts = read_held_out(tasks, 0.25, 1000)
    expected = {
        chain.id
        for name in ("squad", "coqa")
        for number in range(40)
        if is_held_out(text_key((chain := chain_of(name, f"{name} {number}")).shots[0].text), 0.25)
    }
    assert {text.id for text in texts} - {chain_of("small", "only this").id} == expected
    assert 5 < len(expected) < 40
    assert all(text.gold == (Pair(f"What is {text.text}?", text.text),) for text in texts)


def test_data_sets_share_evenly_and_stay_together(tasks: str) -> None:
    texts = read_held_out(tasks, 1.0, 9)
    sources = [text.source for text in texts]
    assert sources == ["coqa"] * 4 + ["small"] + ["squad"] * 4
    assert read_held_out(tasks, 1.0, 9) == texts
    more = read_held_out(tasks, 1.0, 20)
    assert {text.id for text in texts} < {text.id for text in more}
    assert [text.text for text in texts][:4] != [f"coqa {number}" for number in range(4)]


def test_each_text_has_others_of_its_data_set_before_it(tasks: str) -> None:
    texts = read_held_out(tasks, 1.0, 9, max_shots=2)
    for text in texts:
        before = [turn.text for turn in text.earlier]
        assert text.text not in before
        assert len(set(before)) == (0 if text.source == "small" else 2)
        assert all(name.startswith(text.source) for name in before)
        assert all(turn.pairs[0].response == turn.text for turn in text.earlier)
    squad = [text for text in texts if text.source == "squad"]
    assert squad[0].earlier[0].text == squad[1].text
    assert len({text.earlier for text in squad}) == 4
    everything = read_held_out(tasks, 1.0, 1000, max_shots=2)
    assert all(len(text.earlier) == 2 for text in everything if text.source != "small")


def test_the_same_text_is_no_example_for_itself(tmp_path: Path) -> None:
    texts = read_held_out(write_tasks(tmp_path, {"twice": ["same", "same"]}), 1.0, 2, max_shots=1)
    assert [(text.text, text.earlier) for text in texts] == [("same", ()), ("same", ())]


def test_half_a_stage_is_refused(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path, {"squad": ["a text"]}, is_complete=False)
    with pytest.raises(InputError, match="is not complete"):
        read_held_out(tasks, 1.0, 2)


def test_nothing_held_out_is_said(tasks: str) -> None:
    with pytest.raises(InputError, match="none of 3 data sets has an example with a share below"):
        read_held_out(tasks, 0.0, 9)


def test_plain_texts_have_nothing_to_compare_with() -> None:
    first, second = plain_texts(["one", "two"])
    assert (first.text, first.gold, first.earlier, first.source) == ("one", (), (), "texts")
    assert first.id != second.id


def test_small_data_sets_leave_their_share() -> None:
    assert even_shares({"b": 100, "a": 100, "c": 2}, 11) == {"a": 4, "b": 5, "c": 2}
    assert even_shares({"a": 1, "b": 1}, 11) == {"a": 1, "b": 1}


@given(st.dictionaries(st.text(max_size=2), st.integers(0, 30), min_size=1), st.integers(0, 100))
def test_shares_are_as_even_as_sizes_allow(sizes: dict[str, int], total: int) -> None:
    shares = even_shares(sizes, total)
    assert list(shares) == sorted(sizes)
    assert sum(shares.values()) == min(total, sum(sizes.values()))
    assert all(0 <= share <= sizes[name] for name, share in shares.items())
    largest = max(shares.values())
    assert all(share >= largest - 1 or share == sizes[name] for name, share in shares.items())

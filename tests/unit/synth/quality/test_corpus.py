"""Near-duplicate pairs across the corpus."""

import json
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts import Pair
from synth.quality.config import CorpusDedupConfig
from synth.quality.corpus import CorpusDeduplicator, bands_and_rows

LONG = Pair(
    "Why did the town of Orrin decide to build a lighthouse on the northern cape in 1871?",
    "Because eleven fishing boats had been lost on the reef in a single winter, and the insurers "
    "in the capital refused to pay for any more of them without a light.",
)


def flags(pairs: list[Pair], **settings: object) -> list[bool]:
    deduplicator = CorpusDeduplicator(CorpusDedupConfig(**settings))  # type: ignore[arg-type]
    return [deduplicator.is_duplicate(pair, str(doc)) for doc, pair in enumerate(pairs)]


def test_identical_and_nearly_identical_pairs_fall() -> None:
    shouted = Pair(LONG.instruction.upper(), LONG.response.replace(",", " -"))
    one_word = Pair(LONG.instruction, LONG.response.replace("capital", "city"))
    assert flags([LONG, LONG, shouted, one_word]) == [False, True, True, True]


def test_other_pairs_stay() -> None:
    other = Pair(
        "Why did the keepers of Orrin leave the island in 1903?", "The lamps were electric."
    )
    assert flags([LONG, other, Pair(LONG.instruction, "Nobody knows the reason.")]) == [False] * 3


def test_a_general_question_stays_where_its_answer_differs() -> None:
    question = "What is the main idea of the passage?"
    pairs = [Pair(question, f"{topic} changed the town.") for topic in ("Oil", "Light", "War")]
    assert flags(pairs) == [False] * 3
    assert flags(pairs, with_response=False) == [False, True, True]
    wordy = (
        "Which of the following words best describes the view of the author in the passage above?"
    )
    assert (
        flags([Pair(wordy, answer) for answer in ("doubtful", "hopeful", "angry")]) == [False] * 3
    )


def test_a_choice_among_other_options_is_another_question() -> None:
    def choice(*options: str) -> Pair:
        return Pair("Which of these occurs in the text?", "Kentucky", "multiple_choice", options)

    corpus = CorpusDeduplicator(CorpusDedupConfig())
    assert not corpus.is_duplicate(choice("Kentucky", "the Treasury", "Ohio"), "a")
    assert not corpus.is_duplicate(choice("Maine", "Kentucky", "Fort Sumter"), "b")
    assert corpus.is_duplicate(choice("Ohio", "Kentucky", "the Treasury"), "c"), "in another order"


def test_only_survivors_are_remembered() -> None:
    words = [f"w{i}" for i in range(60)]
    pairs = [Pair("Tell me.", " ".join(words[: 60 - cut] + ["x"] * cut)) for cut in (0, 2, 4, 60)]
    assert flags(pairs)[0] is False
    # The last shares nothing with the first; what fell between them does not shield or bar it.
    assert flags(pairs)[-1] is False


def test_unspaced_scripts_and_signs() -> None:
    pair = Pair(
        "这座灯塔是由谁建造的,又是在哪一年建成的?", "由来自首都的工程师安娜于1871年建造完成。"
    )
    other = Pair("渔民们在夜里靠什么来指引方向?", "他们依靠灯塔发出的光。")
    assert flags([pair, pair, other]) == [False, True, False]
    assert flags([Pair("?", "!"), Pair("?", "!"), Pair("??", ".")]) == [False, True, False]


def test_asking_again_for_the_same_document_gives_the_same_answer() -> None:
    deduplicator = CorpusDeduplicator(CorpusDedupConfig())
    assert not deduplicator.is_duplicate(LONG, "a")
    assert deduplicator.is_duplicate(LONG, "b")
    assert not deduplicator.is_duplicate(LONG, "a")
    assert deduplicator.is_duplicate(LONG, "b")


def test_remembering_survivors_resumes_the_corpus() -> None:
    rng = random.Random(0)
    words = ["lamp", "oil", "sea", "ship", "keeper", "storm", "tower", "light", "rope", "coal"]
    pairs = [
        Pair("Why was it so?", " ".join(rng.choices(words, k=rng.randint(2, 4))))
        for _ in range(300)
    ]
    whole = flags(pairs)
    assert 10 < sum(whole) < 290
    for cut in (1, 100, 299):
        resumed = CorpusDeduplicator(CorpusDedupConfig())
        for doc, pair in enumerate(pairs[:cut]):
            if not whole[doc]:
                resumed.remember(pair, str(doc))
        rest = [
            resumed.is_duplicate(pair, str(doc)) for doc, pair in enumerate(pairs) if doc >= cut
        ]
        assert rest == whole[cut:]
    bare = CorpusDeduplicator(CorpusDedupConfig())
    bare.remember(LONG)
    assert bare.is_duplicate(LONG, "a")


def test_hashing_is_the_same_in_every_process() -> None:
    program = (
        "import json; from pipeline.contracts import Pair\n"
        "from synth.quality.config import CorpusDedupConfig\n"
        "from synth.quality.corpus import CorpusDeduplicator\n"
        "d = CorpusDeduplicator(CorpusDedupConfig(seed=7))\n"
        "print(json.dumps([k.hex() for k in d._band_keys(Pair('Who built it?', 'Anna Vell'))]))"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    # And from release to release of the library: a change here makes old runs not resumable.
    assert json.loads(outputs[0])[0] == FIRST_BAND_KEY
    assert len(json.loads(outputs[0])) == bands_and_rows(0.7, 128)[0]


FIRST_BAND_KEY = "0000f21678e4f1068900"


@pytest.mark.parametrize("num_perm", [64, 128, 256])
@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9])
def test_the_slope_lies_about_the_threshold(threshold: float, num_perm: int) -> None:
    num_bands, num_rows = bands_and_rows(threshold, num_perm)
    assert num_bands * num_rows <= num_perm

    def chance(similarity: float) -> float:
        return 1 - (1 - similarity**num_rows) ** num_bands

    assert chance(threshold - 0.25) < 0.15
    assert chance(min(0.99, threshold + 0.15)) > 0.8


def test_the_documented_table_holds() -> None:
    assert bands_and_rows(0.7, 128) == (14, 9)
    table = {0.3: 0.0003, 0.5: 0.03, 0.6: 0.13, 0.7: 0.44, 0.8: 0.87, 0.9: 0.999}
    for similarity, chance in table.items():
        assert 1 - (1 - similarity**9) ** 14 == pytest.approx(chance, rel=0.15)


def test_measured_duplicates_follow_the_formula() -> None:
    rng = random.Random(1)
    found = {}
    for num_changed in (4, 40):
        hits = 0
        for case in range(60):
            words = [f"{case}w{i}" for i in range(100)]
            changed = list(words)
            for position in rng.sample(range(100), num_changed):
                changed[position] = f"{case}x{position}"
            both = [Pair("Say it.", " ".join(version)) for version in (words, changed)]
            hits += flags(both, shingle_words=1)[1]
        found[num_changed] = hits / 60
    # 4 changed words of 100: s = 96/104 = 0.92, P = 0.999; 40: s = 60/140 = 0.43, P = 0.007
    assert found[4] > 0.95
    assert found[40] < 0.1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=8))
def test_any_strings_are_deduplicated(strings: list[tuple[str, str]]) -> None:
    pairs = [Pair(*string) for string in strings]
    found = flags(pairs + pairs)
    assert all(found[len(pairs) :])
    assert found == flags(pairs + pairs)

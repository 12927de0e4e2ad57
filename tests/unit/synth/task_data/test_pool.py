"""The pool of examples: merged by context, ranked by their number of pairs."""

from pipeline.contracts import Pair, document_id
from synth.task_data.examples import TaskExample
from synth.task_data.pool import ExamplePool, Place, PooledExample

FIRST, LATER = Place("s", "squad", "a.json", 1), Place("t", "coqa", "b.json", 2)


def example(context: str, *numbers: int, dataset: str = "d") -> TaskExample:
    return TaskExample(dataset, context, tuple(Pair(f"Q{n}?", f"A{n}") for n in numbers))


def test_pairs_on_one_context_come_together() -> None:
    pool = ExamplePool()
    assert pool.add(example("T", 1, 2), FIRST) == (False, 0)
    assert pool.add(example("U", 1), LATER) == (False, 0)
    assert pool.add(example("T", 2, 3), LATER) == (True, 1)
    assert pool.add(example("T", 4, dataset="other"), LATER) == (False, 0)
    pool.rank()
    assert pool.datasets() == ["d", "other"]
    (merged, three), (_, one) = pool.ranked("d")
    assert (three, one) == (3, 1)
    pairs = example("T", 1, 2, 3).pairs
    assert pool.example(merged) == PooledExample(document_id("d", "T"), "d", "T", pairs, FIRST)


def test_options_make_another_question_and_case_does_not() -> None:
    pool = ExamplePool()
    with_options = Pair("Who?", "a", "multiple_choice", ("a", "b"), "")
    pool.add(TaskExample("d", "T", (Pair("Who?", "x"),)), FIRST)
    assert pool.add(TaskExample("d", "T", (with_options, Pair("WHO?", "y"))), FIRST) == (True, 1)
    ((number, _),) = pool.ranked("d")
    assert pool.example(number).pairs == (Pair("Who?", "x"), with_options)


def test_most_pairs_first_and_equals_by_id() -> None:
    contexts = [f"T{number}" for number in range(6)]
    for order in (contexts, contexts[::-1]):
        pool = ExamplePool()
        for context in order:
            pool.add(example(context, *range(1 if context < "T4" else 2)), FIRST)
        pool.rank()
        ranked = [pool.example(number).context for number, _ in pool.ranked("d")]
        by_id = sorted(contexts, key=lambda text: document_id("d", text))
        assert ranked == [c for c in by_id if c >= "T4"] + [c for c in by_id if c < "T4"]


def test_dropped_records_by_folder() -> None:
    pool = ExamplePool()
    pool.note_dropped("a", {"line": 1})
    pool.note_dropped("b", {"line": 2})
    pool.note_dropped("a", {"line": 3})
    assert list(pool.dropped("a")) == [{"line": 1}, {"line": 3}]
    assert list(pool.dropped("c")) == []

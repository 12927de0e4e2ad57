"""Chains and documents into text and spans."""

import dataclasses
import functools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts import Chain, Document, Pair, RenderedText, Shot, encode
from synth.templates import Pools, load_pools, render_chain, render_document, shipped_pools
from synth.templates.layout import draw_layout, stream_of

ROOT = Path(__file__).parents[4]
PAIRS = (
    Pair("Braces {a} stay?", "{q} and {text}"),
    Pair("Which one?", "ypsilon", "multiple_choice", ("xylophone", "ypsilon", "none of these")),
    Pair("How come?", "gravity", "chain_of_thought", (), "Apples fall."),
    Pair("Which, then?", "zebra", "multiple_choice_cot", ("zebra", "quagga"), "It has stripes."),
)
MODES = ("classic", "dialogue", "numbered", "few_shot", "next_turn")


def make_chain(identity: str, *shots: Shot) -> Chain:
    return Chain(identity, "s", shots, {})


def full_chain(identity: str) -> Chain:
    return make_chain(
        identity, Shot("d1", "First {q} text.", PAIRS), Shot("d2", "Second text.", PAIRS[::-1])
    )


def mode_of(chain: Chain) -> str:
    has_several = all(len(shot.pairs) >= 2 for shot in chain.shots)
    layout = draw_layout(stream_of(chain.id, 0), shipped_pools(), has_several=has_several)
    return layout.mode


def sliced(rendered: RenderedText, role: str) -> list[str]:
    return [rendered.text[span.start : span.end] for span in rendered.spans if span.role == role]


def assert_spans_hold(chain: Chain, rendered: RenderedText) -> None:
    """Spans are in order, apart and not empty, and hold each pair's own words."""
    end = 0
    for span in rendered.spans:
        assert end <= span.start < span.end <= len(rendered.text)
        end = span.end
    pairs = [pair for shot in chain.shots for pair in shot.pairs]
    questions, responses = sliced(rendered, "instruction"), sliced(rendered, "response")
    assert len(questions) == len(responses) == len(pairs)
    assert len(rendered.spans) == 2 * len(pairs)
    for pair, question, response in zip(pairs, questions, responses, strict=True):
        if not pair.options:
            assert question == pair.instruction
        assert question.startswith(pair.instruction)
        assert all(option in question for option in pair.options)
        assert response.startswith(pair.reasoning)
        if not pair.options:
            assert response.endswith(pair.response)
        if not (pair.options or pair.reasoning):
            assert response == pair.response


def test_text_and_pairs_are_there_in_every_mode() -> None:
    seen = {mode: 0 for mode in MODES}
    for number in range(1_000):
        chain = full_chain(f"id{number}")
        rendered = render_chain(chain, 0)
        seen[mode_of(chain)] += 1
        assert rendered.text.count("First {q} text.") == 1
        assert rendered.text.count("Second text.") == 1
        assert rendered.text.count("Braces {a} stay?") == 2
        assert rendered.text.count("{q} and {text}") == 2
        assert "{n}" not in rendered.text
        assert "{s}" not in rendered.text
        assert_spans_hold(chain, rendered)
    assert min(seen.values()) > 20


words = st.text(
    st.one_of(st.sampled_from("{}[]|$\\%\n "), st.characters(exclude_categories=["Cs"])),
    min_size=1,
    max_size=12,
) | st.sampled_from(["{q}", "{a}", "{text}", "{n}{s}", "\\1", "A", "both A and B", "1. x"])


@st.composite
def any_pair(draw: st.DrawFn) -> Pair:
    options = tuple(draw(st.lists(words, max_size=4)))
    response = draw(st.sampled_from(options)) if options else draw(words)
    return Pair(draw(words), response, "free_form", options, draw(st.just("") | words))


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=8),
    st.lists(st.tuples(words, st.lists(any_pair(), max_size=4)), min_size=1, max_size=3),
    st.sampled_from(MODES),
)
def test_any_words_stay_as_they_are(
    identity: str, shots: list[tuple[str, list[Pair]]], mode: str
) -> None:
    texts = [f"[[{number}]]{text}[[/{number}]]" for number, (text, _) in enumerate(shots)]
    chain = make_chain(
        identity,
        *(Shot("d", text, tuple(pairs)) for text, (_, pairs) in zip(texts, shots, strict=True)),
    )
    rendered = render_chain(chain, 0, pools_of(mode))
    assert_spans_hold(chain, rendered)
    for text in texts:
        start = rendered.text.index(text)
        end = start + len(text)
        assert all(span.end <= start or end <= span.start for span in rendered.spans)


@functools.cache
def pools_of(mode: str) -> Pools:
    """The shipped pools with one mode wherever it can be."""
    otherwise = mode if mode in ("classic", "dialogue") else "classic"
    weights = {"several": {mode: 1}, "otherwise": {otherwise: 1}}
    modes = shipped_pools().modes.model_copy(update=weights)
    return dataclasses.replace(shipped_pools(), modes=modes)


def test_one_pair_or_none_allows_two_modes_only() -> None:
    lone = [
        make_chain(f"{number}", Shot("d", "Text one.", PAIRS), Shot("e", "Text two.", PAIRS[:1]))
        for number in range(600)
    ]
    pools = shipped_pools()
    heads = [form.questions + "\n" for form in pools.numbered.patterns]
    heads += [form.opening for form in pools.next_turn.patterns]
    heads += [form.intro for form in pools.few_shot.patterns]

    def num_headed(chains: list[Chain]) -> int:
        texts = [render_chain(chain, 0).text for chain in chains]
        return sum(any(f"\n\n{head}\n" in text for head in heads) for text in texts)

    assert num_headed(lone) == 0
    several = [make_chain(chain.id, chain.shots[0], chain.shots[0]) for chain in lone]
    assert num_headed(several) > 30


def test_all_shots_share_one_layout() -> None:
    pairs = (Pair("First question?", "one"), Pair("Second question?", "two"))
    for number in range(500):
        chain = make_chain(f"{number}", Shot("d", "Same.", pairs), Shot("e", "Same.", pairs))
        text = render_chain(chain, 0).text
        half = len(text) // 2 - 1
        assert text[:half] == text[-half:]
        assert text[half:-half] == "\n\n"


def test_a_shot_without_pairs_is_its_bare_text() -> None:
    for number in range(300):
        alone = render_chain(make_chain(f"{number}", Shot("d", "Bare.", ())), 0)
        assert alone == RenderedText("Bare.")
        mixed = make_chain(f"{number}", Shot("d", "Bare.", ()), Shot("e", "Full.", PAIRS))
        assert render_chain(mixed, 0).text.startswith("Bare.\n\n")


def test_white_space_around_a_text_opens_no_gaps() -> None:
    shots = (Shot("a", "\n  First.\n", PAIRS), Shot("b", "Second.\n\n", ()))
    for number in range(300):
        text = render_chain(make_chain(f"{number}", *shots), 0).text
        assert "\n\n\n" not in text
        assert text.endswith("Second.")


def test_inverted_examples_have_their_pairs_first() -> None:
    chains = [
        make_chain(f"{number}", Shot("d", "The text itself.", PAIRS[:2])) for number in range(2_000)
    ]
    num_inverted = 0
    for chain in chains:
        rendered = render_chain(chain, 0)
        last = rendered.spans[-1].end
        num_inverted += rendered.text.index("The text itself.") > last
    assert 60 < num_inverted < 140


def test_reasoning_ends_in_a_lead_to_the_answer() -> None:
    leads = shipped_pools().reasoning.answer_leads
    seen = set()
    for number in range(600):
        rendered = render_chain(make_chain(f"{number}", Shot("d", "Text.", PAIRS[2:3])), 0)
        (response,) = sliced(rendered, "response")
        lead = response.removeprefix("Apples fall.\n").removesuffix("gravity")
        assert lead in leads
        seen.add(lead)
    assert seen == set(leads)


def test_a_labelled_answer_is_that_of_the_right_option() -> None:
    num_labelled = 0
    for number in range(800):
        rendered = render_chain(make_chain(f"{number}", Shot("d", "Text.", PAIRS[1:2])), 0)
        (question,), (answer,) = sliced(rendered, "instruction"), sliced(rendered, "response")
        marks = {line.split()[-1]: line for line in question.splitlines()[-3:]}
        assert question.endswith("none of these")
        if answer != "ypsilon":
            num_labelled += 1
            symbol = answer.strip("()[]<>*")
            words = marks["ypsilon"].replace("ypsilon", "")
            assert symbol in words
            assert symbol not in marks["xylophone"].replace("xylophone", "").split()
    assert 500 < num_labelled < 760


def test_a_chain_reads_the_same_in_any_order_shard_and_process() -> None:
    chains = [full_chain(f"id{number}") for number in range(60)]
    texts = {chain.id: render_chain(chain, 7).text for chain in chains}
    shuffled = random.Random(1).sample(chains, len(chains))
    assert {chain.id: render_chain(chain, 7).text for chain in shuffled} == texts
    script = (
        "import json, sys\n"
        "from pipeline.contracts import decode_chain\n"
        "from synth.templates import render_chain\n"
        "chains = [decode_chain(line) for line in sys.stdin.buffer]\n"
        "print(json.dumps({chain.id: render_chain(chain, 7).text for chain in chains}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=b"".join(map(encode, chains[30:])),
        capture_output=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "5", "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert json.loads(done.stdout) == {chain.id: texts[chain.id] for chain in chains[30:]}
    assert len(set(texts.values())) == len(texts)
    assert {chain.id: render_chain(chain, 8).text for chain in chains} != texts


def test_rendering_changes_no_pool() -> None:
    pools = load_pools()
    before = (pools.fingerprint(), repr(pools))
    seen = set()
    for number in range(1_000):
        chain = full_chain(f"id{number}")
        render_chain(chain, 0, pools)
        seen.add(mode_of(chain))
    assert seen == set(MODES)
    assert (pools.fingerprint(), repr(pools)) == before
    with pytest.raises(Exception, match="frozen"):
        pools.readings.bare_share = 0


def document(text: str, **meta: str) -> Document:
    return Document("id", "s", text, {"route": "raw"} | meta)


def test_a_raw_document_is_plain_text() -> None:
    assert render_document(document("Plain {q}.")) == RenderedText("Plain {q}.")


def test_the_instruction_of_a_document_is_a_span() -> None:
    rendered = render_document(document("Add 2 + 2. 4", instruction_chars="10"))
    assert rendered.text == "Add 2 + 2. 4"
    assert sliced(rendered, "instruction") == ["Add 2 + 2."]
    assert sliced(rendered, "response") == ["4"]


def test_the_turns_of_a_document_are_spans() -> None:
    rendered = render_document(document("Hi Hello\nHow? Well.", turns="2 5 4 5"))
    assert sliced(rendered, "instruction") == ["Hi", "How?"]
    assert sliced(rendered, "response") == ["Hello", "Well."]
    assert [span.role for span in rendered.spans] == ["instruction", "response"] * 2


@pytest.mark.parametrize(
    "meta",
    [
        {"instruction_chars": "0"},
        {"instruction_chars": "7"},
        {"instruction_chars": "6"},
        {"turns": "2 2"},
        {"turns": "7"},
    ],
)
def test_lengths_that_do_not_fit_are_refused(meta: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="do not fill its 7"):
        render_document(document("abc def", **meta))


def test_the_line_before_a_single_pair_speaks_of_one() -> None:
    differing = [
        line
        for lines in (
            shipped_pools().comprehension.anywhere,
            shipped_pools().comprehension.text_first,
        )
        for line in lines
        if line.one != line.several
    ]
    single, double = set(), set()
    for number in range(1_500):
        texts = [
            render_chain(make_chain(f"{number}", Shot("d", "Text.", pairs)), 0).text
            for pairs in (PAIRS[:1], PAIRS[:1] * 2)
        ]
        single |= {line for line in differing if f"\n\n{line.one}\n" in texts[0]}
        double |= {line for line in differing if f"\n\n{line.several}\n" in texts[1]}
        assert not [line for line in differing if f"\n\n{line.several}\n" in texts[0]]
    assert single == double == set(differing)

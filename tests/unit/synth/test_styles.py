"""Task styles: the library, what is asked, and how replies are read."""

import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import Pair, encode
from pipeline.errors import InputError
from synth import chat
from synth.config import SynthConfig
from synth.engines.fake_process import fill
from synth.protocols import ChatProtocol, make_protocol
from synth.styles.library import SHIPPED, load_library
from synth.styles.reply import format_reply, parse_reply, reply_schema
from synth.styles.spans import AnswerSpan, choose_spans
from synth.tasks import Task, Turn

LIBRARY = load_library("", {})
TEXT = (
    "The treaty was signed in 1867 by Secretary Seward. It gave the United States 586,000 square "
    "miles for $7.2 million, which the newspapers called a folly. Gold was found there later."
)
GERMAN = (
    "Der Vertrag wurde im Jahre 1867 unterzeichnet. Er brachte den Vereinigten Staaten ein Land, "
    "das die Zeitungen eine Torheit nannten, bis man dort Gold fand."
)


def test_the_library_covers_the_kinds_of_task() -> None:
    assert len(LIBRARY.styles) >= 16
    kinds = Counter(style.kind for style in LIBRARY.styles.values())
    assert {"free_form", "multiple_choice", "chain_of_thought"} <= kinds.keys()
    assert sum(style.is_linked for style in LIBRARY.styles.values()) >= 2
    assert len({style.example.text for style in LIBRARY.styles.values()}) == len(LIBRARY.styles)


@pytest.mark.parametrize("name", LIBRARY.styles)
def test_each_example_is_a_reply_that_its_own_schema_and_parser_accept(name: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    style = LIBRARY.styles[name]
    pairs = style.example_pairs()
    spans = [AnswerSpan(pair.response, "clause") for pair in pairs]
    reply = format_reply(pairs, style)
    schema = reply_schema(style, spans if style.answers == "spans" else (), "")
    items = schema["properties"]["pairs"]
    items["minItems"] = items["maxItems"] = len(pairs)  # an example may show fewer than are asked
    jsonschema.validate(json.loads(reply), schema)
    parsed = parse_reply(reply, style)
    assert parsed.pairs == list(pairs)
    assert not parsed.dropped


@pytest.mark.parametrize("name", LIBRARY.styles)
def test_what_a_schema_allows_the_parser_reads(name: str) -> None:
    style = LIBRARY.styles[name]
    spans = choose_spans(TEXT, 3, random.Random(0)) if style.answers == "spans" else ()
    words = TEXT.split()
    reply = json.dumps(fill(reply_schema(style, spans, "en"), random.Random(1), words))
    parsed = parse_reply(reply, style)
    readable = len(parsed.pairs) + parsed.dropped["answer_not_among_options"]
    assert readable + parsed.dropped["duplicate_question"] >= 1
    assert parsed.dropped["not_a_pair"] == parsed.dropped["unfinished_pair"] == 0


@pytest.mark.vllm
@pytest.mark.parametrize("name", LIBRARY.styles)
def test_each_schema_compiles_to_a_grammar(name: str, tokenizer) -> None:
    """With the library that vLLM compiles it with."""
    xgrammar = pytest.importorskip("xgrammar")
    style = LIBRARY.styles[name]
    spans = choose_spans(TEXT, 3, random.Random(0)) if style.answers == "spans" else ()
    info = xgrammar.TokenizerInfo.from_huggingface(tokenizer)
    compiler = xgrammar.GrammarCompiler(info)
    schema = json.dumps(reply_schema(style, spans, "en"))
    grammar = compiler.compile_json_schema(schema, any_whitespace=False)
    matcher = xgrammar.GrammarMatcher(grammar, terminate_without_stop_token=True)
    pairs = [
        Pair(f"{pair.instruction}", pair.response, pair.kind, pair.options, pair.reasoning)
        for pair in style.example_pairs()
    ]
    if spans:
        pairs = [Pair("When did that take place?", span.text) for span in spans[:1]]
    reply = format_reply(pairs, style)
    assert matcher.accept_string(reply.removesuffix("]}"))
    assert not matcher.accept_string("no JSON")


def test_replies_with_talk_around_them_and_replies_cut_short() -> None:
    style = LIBRARY.styles["varied_qa"]
    whole = format_reply([Pair("Who signed it?", "Seward"), Pair("When?", "In 1867")], style)
    assert len(parse_reply(f"Sure!\n```json\n{whole}\n```", style).pairs) == 2
    cut = parse_reply(whole[: whole.index("In 1867")], style)
    assert [pair.response for pair in cut.pairs] == ["Seward"]
    assert cut.dropped == {"unfinished_pair": 1}
    assert parse_reply("I would rather not.", style).dropped == {"no_pair_in_reply": 1}
    assert parse_reply('{"pairs": ["a", {"instruction": 3}]}', style).dropped == {"not_a_pair": 2}


@given(st.text(st.sampled_from('{}[]":,ab\\ \n1') | st.characters(), max_size=120))
def test_any_reply_parses(output: str) -> None:
    for style in LIBRARY.styles.values():
        parse_reply(output, style)


ANY_STRING = st.text(st.characters() | st.sampled_from("\ud83d\udc00\0"), max_size=20)


@given(st.lists(st.fixed_dictionaries({"instruction": ANY_STRING, "response": ANY_STRING})))
def test_whatever_was_parsed_can_be_stored_and_asked_about(tokenizer, items: list[dict]) -> None:
    """Also half a surrogate pair, which JSON can spell and neither a file nor a tokenizer take."""
    parsed = parse_reply(json.dumps({"pairs": items}), LIBRARY.styles["faq"])
    assert len(parsed.pairs) + parsed.dropped.total() == len(items) or not items
    for pair in parsed.pairs:
        encode(pair)
        tokenizer(pair.instruction + pair.response)


def test_deep_nesting_parses() -> None:
    assert parse_reply('{"a":' * 5000, LIBRARY.styles["faq"]).pairs == []


def test_styles_are_drawn_by_weight_and_keyed_on_the_text(tokenizer) -> None:
    weights = {"faq": 3.0, "table": 1.0}
    protocol = ChatProtocol(tokenizer, load_library("", weights), seed=0)
    drawn = Counter(protocol.plan(f"id{n}", TEXT, 0).style_name for n in range(2000))
    assert drawn.keys() == weights.keys()
    assert 0.70 < drawn["faq"] / 2000 < 0.80
    assert protocol.plan("id7", TEXT, 0) == protocol.plan("id7", TEXT, 0)
    attempts = {protocol.plan("id7", TEXT, attempt).style_name for attempt in range(20)}
    assert attempts == weights.keys()


def test_own_styles_stand_beside_and_in_place_of_those_shipped(tmp_path: Path) -> None:
    content = (SHIPPED / "faq.toml").read_text()
    (tmp_path / "mine.toml").write_text(content)
    (tmp_path / "table.toml").write_text(content)
    library = load_library(str(tmp_path), {})
    assert library.styles["mine"] == library.styles["table"] == LIBRARY.styles["faq"]
    assert library.fingerprints()["table"] != LIBRARY.fingerprints()["table"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("about =", "abuot ="), "did you mean 'about'"),
        (('kind = "multiple_choice"', 'kind = "free_form"'), "labels go with"),
        (('response = "False"', 'response = "Maybe"'), "none of the options"),
        (("pairs = [3, 5]", "pairs = [5, 3]"), "1 <= fewest"),
    ],
)
def test_a_wrong_style_is_refused(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    content = (SHIPPED / "true_false.toml").read_text()
    assert change[0] in content
    (tmp_path / "mine.toml").write_text(content.replace(*change))
    with pytest.raises(InputError, match=message):
        load_library(str(tmp_path), {})


def test_weights_that_cannot_be_drawn_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="styles are: answer_first"):
        load_library("", {"faqs": 1})
    with pytest.raises(InputError, match="weights of all styles are 0"):
        load_library("", {"faq": 0})
    with pytest.raises(InputError, match=r"holds no \.toml"):
        load_library(str(tmp_path / "nowhere"), {})


def test_given_answers_stand_in_the_text() -> None:
    for seed in range(50):
        spans = choose_spans(TEXT, 4, random.Random(seed))
        assert len(spans) == 4
        assert all(span.text in TEXT for span in spans)
        assert not any(a is not b and a.text in b.text for a in spans for b in spans)
    kinds = {span.kind for span in choose_spans(TEXT, 9, random.Random(0))}
    assert kinds == {"year", "number", "name", "clause"}
    assert choose_spans(
        "\u6761\u7ea6\u4e8e\u4e00\u516b\u516d\u4e03\u5e74\u7b7e\u8ba2\u3002", 2, random.Random(0)
    )
    assert choose_spans("Oh.", 4, random.Random(0)) == ()


@given(st.text(max_size=300))
def test_any_text_gives_spans_of_itself(text: str) -> None:
    assert all(span.text in text for span in choose_spans(text, 5, random.Random(0)))


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("On July 17 the army paid 300 men and 4,000 horses.", {"300", "4,000"}),
        ("CWO 5 Slover met 12 of them; $21.41 and 40% went.", {"12", "$21.41", "40%"}),
        ("By June 30, some 2 million came.", {"2 million"}),
    ],
)
def test_days_and_parts_of_names_are_no_amounts(text: str, amounts: set[str]) -> None:
    found = choose_spans(text, 20, random.Random(0))
    assert {span.text for span in found if span.kind == "number"} == amounts


def test_a_clause_that_hangs_on_another_is_no_answer() -> None:
    text = "The act, of which they had heard before, than all others, passed in the spring"
    found = {span.text for span in choose_spans(text, 20, random.Random(0))}
    assert "passed in the spring" in found
    assert not [each for each in found if each.startswith(("of which", "than"))]


def test_a_question_begins_as_its_answer_wants_in_english_only() -> None:
    style = LIBRARY.styles["answer_first"]
    spans = (AnswerSpan("1867", "year"),)

    def pattern(language: str) -> str:
        items = reply_schema(style, spans, language)["properties"]["pairs"]["prefixItems"]
        assert items[0]["properties"]["response"] == {"const": "1867"}
        return items[0]["properties"]["instruction"]["pattern"]

    assert re.search(pattern("en"), "In what year was it built?")
    assert not re.search(pattern("en"), "Who built it?")
    assert not re.search(pattern("en"), "When?")
    assert re.search(pattern("de"), "Wer baute ihn?")


def test_the_request_is_in_the_language_of_the_text(tokenizer) -> None:
    protocol = ChatProtocol(tokenizer, load_library("", {"faq": 1}), seed=0)
    assert "German" in protocol.plan("a", GERMAN, 0).request()
    assert "Write everything in" not in protocol.plan("a", TEXT, 0).request()
    assert protocol.plan("a", GERMAN, 0).provenance()["language"] == "de"


def test_a_conversation_begins_like_the_one_before_it(tokenizer) -> None:
    """So that the engine finds what came before in its prefix cache."""
    protocol = ChatProtocol(tokenizer, LIBRARY, seed=0)
    tasks = [Task(name, LIBRARY.styles[name]) for name in ("faq", "table", "faq")]
    turns = [Turn(f"text {n}", task, (Pair(f"q{n}?", f"a{n}"),)) for n, task in enumerate(tasks)]
    first = protocol.encode_prompt((), "text 0", tasks[0]).token_ids
    second = protocol.encode_prompt(turns[:1], "text 1", tasks[1]).token_ids
    third = protocol.encode_prompt(turns[:2], "text 2", tasks[2]).token_ids
    assert second[: len(first)] == first
    assert third[: len(second)] == second
    assert tokenizer.decode(third).count(LIBRARY.styles["faq"].example.text) == 1
    assert tokenizer.decode(third).endswith("assistant:")


def test_a_passage_cannot_end_its_turn(tokenizer) -> None:
    messages = [{"role": "user", "content": "sly </s> text \ue0000\ue001"}]
    ids = chat.encode_messages(tokenizer, messages)
    assert tokenizer.eos_token_id not in ids
    assert "sly </s> text" in tokenizer.decode(ids)


def test_a_template_that_loses_messages_is_refused(tokenizer) -> None:
    template = tokenizer.chat_template
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    try:
        protocol = make_protocol(SynthConfig(model="m", protocol="chat"), tokenizer)
        with pytest.raises(InputError, match="chat template does not show each message once"):
            protocol.encode_prompt((), TEXT, protocol.plan("a", TEXT, 0))
    finally:
        tokenizer.chat_template = template

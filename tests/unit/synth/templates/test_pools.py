"""The pools as they stand in their files, and as they are loaded."""

import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import InputError
from synth.templates.patterns import by_number, counted_frame, cut, line_frame
from synth.templates.pools import SHIPPED, load_pools, shipped_pools


def raw(name: str) -> dict:
    return tomllib.loads((SHIPPED / f"{name}.toml").read_text())


def flat_entries() -> Iterator[tuple[str, list]]:
    """Every list of strings or of tables of strings in the files."""
    for path in sorted(SHIPPED.glob("*.toml")):
        for key, value in raw(path.stem).items():
            if isinstance(value, list):
                yield f"{path.stem}.{key}", value


def test_pools_are_as_broad_as_those_of_the_paper() -> None:
    pools = shipped_pools()
    questions, reasoning = pools.questions, pools.reasoning
    assert len(questions.plain) >= 79
    assert len(questions.choice) >= 48
    assert len(questions.choice) * len(pools.options.intros) >= 48
    per_frame = len(reasoning.cues) * len(reasoning.answer_leads)
    assert len(questions.reasoned) * per_frame >= 210
    assert len(questions.reasoned_choice) * per_frame >= 240
    assert len(pools.numbered.patterns) >= 11
    assert len(pools.next_turn.patterns) >= 15
    assert len(pools.few_shot.patterns) >= 20
    assert len(pools.readings.patterns) >= 50
    assert pools.readings.bare_share == 0.5
    lines = pools.comprehension
    assert len(lines.anywhere + lines.text_first) >= 84
    assert lines.empty_share == 0.5
    assert len(pools.options.intros) >= 16
    assert len(pools.options.styles) >= 87
    assert len(pools.dialogue.intros) >= 15
    assert len(pools.dialogue.speakers) >= 50


def test_shares_are_those_of_the_paper() -> None:
    modes = shipped_pools().modes
    assert modes.several == {
        "classic": 80,
        "dialogue": 5,
        "numbered": 5,
        "few_shot": 5,
        "next_turn": 5,
    }
    assert modes.otherwise == {"classic": 95, "dialogue": 5}
    assert modes.inverted_share == 0.05


def test_all_entries_of_a_pool_are_distinct() -> None:
    pools = list(flat_entries())
    assert len(pools) > 15
    for name, entries in pools:
        assert len({repr(entry) for entry in entries}) == len(entries), name
    styles = shipped_pools().options.styles
    assert len({"\n".join(style.lines(("x", "y"))) for style in styles}) == len(styles)
    reasoning = shipped_pools().reasoning
    asked = itertools.product(shipped_pools().questions.reasoned, reasoning.cues)
    texts = {f"{frame.before}Q\n{cue}{frame.between}A" for frame, cue in asked}
    assert len(texts) == len(shipped_pools().questions.reasoned) * len(reasoning.cues)


@pytest.mark.parametrize(
    ("name", "key", "placeholders"),
    [
        ("questions", "plain", ["q", "a"]),
        ("questions", "choice", ["q", "a"]),
        ("questions", "reasoned", ["q", "a"]),
        ("questions", "reasoned_choice", ["q", "a"]),
        ("readings", "patterns", ["text"]),
        ("reasoning", "answer_leads", ["a"]),
        ("reasoning", "cues", []),
        ("options", "intros", []),
        ("options", "bullets", []),
        ("dialogue", "turns", ["name", "says"]),
        ("dialogue", "intros", []),
    ],
)
def test_each_pattern_holds_its_placeholders_once(
    name: str, key: str, placeholders: list[str]
) -> None:
    for pattern in raw(name)[key]:
        assert re.findall(r"\{(.*?)\}", pattern) == placeholders, pattern


def test_patterns_of_tables_hold_their_placeholders_once() -> None:
    for entry in raw("numbered")["patterns"]:
        assert re.findall(r"\{(.*?)\}", "|".join(entry.values())) == ["n", "q", "n", "a"]
    for entry in raw("few_shot")["patterns"]:
        assert re.findall(r"\{(q|a)\}", entry["example"] + entry["last"]) == ["q", "a"] * 2
        assert "{n}" not in entry["last"] + entry["intro"]


def test_lines_fit_one_pair_and_several() -> None:
    line = by_number("Answer {this question|these questions} now.")
    assert (line.one, line.several) == ("Answer this question now.", "Answer these questions now.")
    lines = shipped_pools().comprehension
    assert sum(line.one != line.several for line in lines.text_first) > 10
    for line in (*lines.anywhere, *lines.text_first, *lines.pairs_first):
        assert not set("{|}") & set(line.one + line.several)


def test_lines_say_rightly_what_comes_first() -> None:
    lines = raw("comprehension")
    late = re.compile(r"\b(above|below|following|have read|just read|now)\b", re.IGNORECASE)
    assert not [line for line in lines["anywhere"] if late.search(line)]
    assert not [pattern for pattern in raw("readings")["patterns"] if late.search(pattern)]
    assert len([line for line in lines["text_first"] if late.search(line)]) > 20
    assert not [line for line in lines["pairs_first"] if "above" in line]
    assert not [line for line in lines["text_first"] if "text below" in line]


def test_a_pattern_of_another_form_is_refused() -> None:
    for pattern in ("{q}", "{q} {q} {a}", "{a} {q}", "{q} {a} {x}", "no placeholder"):
        with pytest.raises(ValueError, match="each once"):
            cut(pattern, "q", "a")
    with pytest.raises(ValueError, match="line end after"):
        line_frame("{q} {a}")
    assert counted_frame("No. {n}: {q}\n{a}").numbered(3).before == "No. 3: "


def test_an_own_file_replaces_the_one_shipped(tmp_path: Path) -> None:
    (tmp_path / "readings.toml").write_text('bare_share = 0\npatterns = ["My text: {text}"]\n')
    own = load_pools(str(tmp_path))
    assert [reading.before for reading in own.readings.patterns] == ["My text: "]
    assert own.questions == shipped_pools().questions
    assert own.fingerprint() != shipped_pools().fingerprint()
    assert load_pools().fingerprint() == shipped_pools().fingerprint()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("readings", 'bare_share = 0\npatterns = ["{text} {text}"]', "each once"),
        ("readings", 'bare_share = 0\npatterns = ["{text}", "{text}"]', "stands here twice"),
        ("readings", "bare_share = 0\npatterns = []", "needs an entry"),
        ("readings", 'bare_share = 2\npatterns = ["{text}"]', "bare_share = 2"),
        ("readings", 'bare_share = 0\npattern = ["{text}"]', "did you mean 'patterns'"),
        ("readings", "not toml", "cannot be read"),
        ("reading", "bare_share = 0", "it may hold: modes, readings"),
        ("reasoning", 'cues = ["{q}"]\nanswer_leads = ["{a}"]', "pattern '{q}' must hold"),
        ("reasoning", 'cues = ["x"]\nanswer_leads = ["so {a} it is"]', "must end with {a}"),
        (
            "modes",
            "inverted_share = 0\n[several]\nclassic = 1\n[otherwise]\nfew_shot = 1",
            "take two pairs",
        ),
        (
            "modes",
            "inverted_share = 0\n[several]\nclassic = 0\n[otherwise]\nclassic = 1",
            "above 0",
        ),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused_by_name(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / f"{name}.toml").write_text(content)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        load_pools(str(tmp_path))
    assert name in str(caught.value)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no \.toml file"):
        load_pools(str(tmp_path))

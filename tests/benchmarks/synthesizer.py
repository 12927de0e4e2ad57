"""What the small synthesizer that ships is worth: `python tests/benchmarks/synthesizer.py`.

Passages of three corpora that it never saw (documentation of Linux and of PostgreSQL, an essay
collection; Debian packages, fetched here) go through `ipt ingest`, `synth` and `filter` under the
protocols `tuned` (as in the quickstart), `chat` (the model that it was tuned from, prompted) and
`rules`. Pairs are measured before the checks (all that could be read) and after the filters. Ends
in one JSON line; exit code 1 if a bar is missed.
"""

import argparse
import gzip
import json
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.ingest.splitting import split_text
from tests.benchmarks.bars import at_least, conclude, figure
from tests.benchmarks.corpus import PROMPTED
from tests.benchmarks.pairs import Outcome, print_table, run_protocol

PASSAGE_CHARS, MIN_PASSAGE_CHARS = 700, 250
PACKAGES = {"linux": "linux-doc-6.1", "postgresql": "postgresql-doc-15", "essays": "anarchism"}
PROTOCOLS = {
    "tuned": [],
    "chat": PROMPTED,
    "rules": ["synth.protocol=rules"],
}


class _Prose(HTMLParser):
    """The paragraphs of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.paragraphs: list[str] = []
        self._is_inside = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "p":
            self._is_inside = True
            self.paragraphs.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("p", "div", "td"):
            self._is_inside = False

    def handle_data(self, data: str) -> None:
        if self._is_inside:
            self.paragraphs[-1] += data


def fetch(package: str, folder: Path) -> Path:
    """A Debian package, unpacked."""
    target = folder / package
    if not target.exists():
        subprocess.run(["apt-get", "download", "-q", package], cwd=folder, check=True)
        (archive,) = folder.glob(f"{package}_*.deb")
        subprocess.run(["dpkg", "-x", archive, target], check=True)
    return target


def read_texts(folder: Path) -> Iterator[str]:
    """The prose of all pages below a folder, a text a page."""
    for path in sorted(folder.rglob("*.html")):
        page = _Prose()
        page.feed(path.read_text("utf-8", errors="replace"))
        yield "\n\n".join(" ".join(each.split()) for each in page.paragraphs if each.strip())
    for path in sorted(folder.rglob("*.rst.gz")):
        blocks = re.split(r"\n\s*\n", gzip.decompress(path.read_bytes()).decode(errors="replace"))
        prose = [block for block in blocks if re.match(r"[A-Z].*[.]\s*$", block, re.DOTALL)]
        yield "\n\n".join(block.replace("``", "").strip() for block in prose)


def choose_passages(folder: Path, number: int) -> list[str]:
    """Some passages of a corpus, the same each time."""
    found = [part for text in read_texts(folder) for part in split_text(text, PASSAGE_CHARS)]
    passages = [passage for passage in found if len(passage) >= MIN_PASSAGE_CHARS]
    return random.Random(0).sample(passages, number)


def figures_of(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The worst of some corpora in each measure, and the seconds of all."""
    before = [outcome.before for outcome in outcomes]
    after = [outcome.after for outcome in outcomes]
    return {
        "texts_with_pair": min(one["documents_with_pair"] / one["documents"] for one in after),
        "unique_before": min(one["unique_question_share"] for one in before),
        "grounded_before": min(one["grounded_share"] for one in before),
        "grounded_after": min(one["grounded_share"] for one in after),
        "categories": min(one["num_categories"] for one in after),
        "seconds": sum(outcome.wall_s for outcome in outcomes),
    }


def main() -> int:
    """Measure every protocol on every corpus."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--texts", type=int, default=100, help="passages of each corpus")
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS))
    parser.add_argument("--keep", type=Path, help="folder for the runs, kept afterwards")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ipt-synthesizer-") as name:
        root = arguments.keep or Path(name)
        root.mkdir(parents=True, exist_ok=True)
        return measure_all(root, arguments.texts, arguments.protocols)


def measure_all(root: Path, num_texts: int, protocols: Sequence[str]) -> int:
    """Run, print, conclude."""
    outcomes: dict[str, dict[str, Outcome]] = {name: {} for name in protocols}
    for corpus, package in PACKAGES.items():
        passages = choose_passages(fetch(package, root), num_texts)
        file = root / f"{corpus}.jsonl"
        file.write_text("".join(json.dumps({"text": text}) + "\n" for text in passages))
        for protocol in protocols:
            run = root / f"{corpus}-{protocol}"
            outcomes[protocol][corpus] = run_protocol(run, file, PROTOCOLS[protocol])
    for corpus in PACKAGES:
        print(f"\n{corpus}")
        print_table({name: each[corpus] for name, each in outcomes.items()})
    figures = {name: figures_of(list(each.values())) for name, each in outcomes.items()}
    bars = {
        f"{protocol}_{name}": figure(value)
        for protocol, values in figures.items()
        for name, value in values.items()
    }
    if tuned := figures.get("tuned"):
        wanted = {"texts_with_pair": 0.98, "unique_before": 0.90, "categories": 4}
        wanted |= {"grounded_before": 0.70}
        bars |= {f"tuned_{name}": at_least(tuned[name], bar) for name, bar in wanted.items()}
        if chat := figures.get("chat"):
            bars["tuned_faster_than_chat"] = at_least(chat["seconds"] / tuned["seconds"], 1.0)
    return conclude("synthesizer", bars)


if __name__ == "__main__":
    sys.exit(main())

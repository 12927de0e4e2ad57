"""The filter stage: what survives of the pairs, decided over the whole corpus and without a model.

    augmented/sotu/part-00000007 ──▶ filtered/sotu/part-00000007
                                     filtered/dropped/sotu/part-00000007   (pairs, with reasons)

Synthesis checks each pair against its own text. Here come the checks that need more: near
duplicates across the corpus, overlap with evaluation sets, a scorer model; and, with thresholds of
their own, the checks of synthesis again, so that tightening one costs no new synthesis. A shot that
loses all its pairs ends its chain and stays as a raw text.

Parts are done in order, one at a time, as each depends on the survivors of those before it; parts
that are added later come after all of them.
"""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.contracts import Chain, Pair, Shot, decode_chain
from pipeline.decontamination.building import load_eval_index
from pipeline.decontamination.config import DecontaminationConfig
from pipeline.decontamination.index import EvalIndex
from pipeline.opening import Growth, open_stage
from pipeline.progress import StageProgress
from pipeline.shards import read_lines
from pipeline.stage import (
    Manifest,
    PartCommit,
    StageFolder,
    read_commits,
    read_manifest,
)
from synth.chains import ChainedPart, DroppedPair, split_chains
from synth.config import FilterConfig
from synth.quality.checks import FOLLOWS_A_DROPPED_PAIR, PairChecker
from synth.quality.corpus import CorpusDeduplicator
from synth.quality.expectations import expectations_of
from synth.tally import Tally
from synth.worker import write_chains


def run_filter(
    config: FilterConfig,
    decontamination: DecontaminationConfig,
    documents_folder: str,
    augmented_folder: str,
    folder: str,
    allow_append: bool = False,
) -> Manifest:
    """Write the chains of `augmented_folder` with the pairs that survive.

    Args:
        config: the checks.
        decontamination: evaluation sets that pairs must not overlap with.
        documents_folder: folder of the complete ingest stage that synthesis started from.
        augmented_folder: folder of the complete synthesis stage.
        folder: folder for the filtered chains.
        allow_append: whether parts may have been added to the inputs.

    Raises:
        InputError: an input stage is not complete, an evaluation set or the scorer cannot be had,
            or `folder` belongs to another config.
    """
    documents, augmented = read_manifest(documents_folder), read_manifest(augmented_folder)
    augmented.require_input("documents", documents)
    index = load_eval_index(decontamination)
    keys = {
        "documents": documents.input_key(),
        "augmented": augmented.input_key(),
        "evaluation_sets": index.fingerprint(),
    }
    stage = open_stage(folder, "filter", config.model_dump(), keys, Growth(allow_append))
    if done := stage.finished():
        return done
    stage.adopt()
    wanted = read_commits(augmented_folder)
    job = _FilterJob(config, index, augmented_folder, stage)
    num_done, num_pairs = 0, 0
    with StageProgress(
        "filter", "documents", sum(commit.records_out for commit in wanted.values()), 0
    ) as progress:
        # Those done first, wherever their names sort: what is new yields to what was there.
        committed = stage.committed()
        for part in sorted(wanted, key=lambda part: (part not in committed, part)):
            num_pairs += job.restore(part) if part in committed else job.write(wanted[part])
            num_done += wanted[part].records_out
            progress.update(num_done, pairs=num_pairs)
    return stage.close(expected_parts=wanted.keys())


class _FilterJob:
    """Parts in order, and what has been seen so far."""

    def __init__(
        self, config: FilterConfig, index: EvalIndex, augmented_folder: str, stage: StageFolder
    ) -> None:
        self._augmented, self._stage, self._index = augmented_folder, stage, index
        self._checker = PairChecker(config.checks) if config.checks is not None else None
        dedup = config.corpus_dedup
        self._seen = CorpusDeduplicator(dedup) if dedup.enabled else None

    def restore(self, part: str) -> int:
        """Take up the survivors of a committed part; return their number."""
        num_pairs = 0
        for line in read_lines(self._stage.uri(f"{part}.jsonl.zst")):
            for shot in decode_chain(line).shots:
                num_pairs += len(shot.pairs)
                if self._seen is not None:
                    for pair in shot.pairs:
                        self._seen.remember(pair, shot.doc_id)
        return num_pairs

    def write(self, augmented: PartCommit) -> int:
        """Filter and commit one part; return the number of surviving pairs."""
        part, shard = augmented.part, f"{self._augmented}/{augmented.shard}"
        chains = [decode_chain(line) for line in read_lines(shard)]
        tally, written = Tally(), ChainedPart()
        for chain in chains:
            shots = [self._filter_shot(shot, written.dropped) for shot in chain.shots]
            written.chains += split_chains(chain.source, shots, chain.provenance)
        shots = [shot for chain in written.chains for shot in chain.shots]
        num_pairs = sum(len(shot.pairs) for shot in shots)
        tally.add("documents", len(shots))
        tally.add("documents_without_pair", sum(not shot.pairs for shot in shots))
        tally.add("pairs", num_pairs)
        for dropped in written.dropped:
            tally.add(f"pairs_dropped.{dropped.reason}")
        self._stage.commit(
            PartCommit(
                part=part,
                files=write_chains(self._stage.folder, part, written),
                records_in=_num_shots(chains),
                records_out=len(shots),
                counts=dict(tally.counts),
            )
        )
        return num_pairs

    def _filter_shot(self, shot: Shot, dropped: list[DroppedPair]) -> Shot:
        pairs: Sequence[Pair] = shot.pairs
        expected = expectations_of(shot.provenance)
        if self._checker is not None:
            checked = self._checker.check(shot.text, shot.pairs, expected)
            dropped += [_dropped(shot, pair, reason) for pair, reason in checked.dropped]
            pairs = checked.kept
        kept = []
        is_broken = False
        for pair in pairs:
            reason, detail = FOLLOWS_A_DROPPED_PAIR, ""
            if not is_broken:
                reason, detail = self._corpus_verdict(shot, pair)
            if reason:
                dropped.append(_dropped(shot, pair, reason, detail))
                is_broken = expected.is_linked
            else:
                kept.append(pair)
        return replace(shot, pairs=tuple(kept))

    def _corpus_verdict(self, shot: Shot, pair: Pair) -> tuple[str, str]:
        """Reason to drop a pair, or empty, and what it rests on."""
        if (found := self._index.find(_searched_text(pair))) is not None:
            return f"contaminated.{found.eval_set}", f"record {found.record}: {found.ngram}"
        # Last, so that only what survives everything else is remembered.
        if self._seen is not None and self._seen.is_duplicate(pair, shot.doc_id):
            return "near_duplicate_in_corpus", ""
        return "", ""


def _num_shots(chains: Sequence[Chain]) -> int:
    return sum(len(chain.shots) for chain in chains)


def _dropped(shot: Shot, pair: Pair, reason: str, detail: str = "") -> DroppedPair:
    return DroppedPair(shot.doc_id, reason, pair, shot.provenance.get("style", ""), detail)


def _searched_text(pair: Pair) -> str:
    return "\n".join((pair.instruction, *pair.options, pair.reasoning, pair.response))

"""Sources into the pool: read, convert, leave out, and count what is dropped, by reason.

file ──records──▶ convert ──▶ examples ──left out?──▶ ExamplePool
                     └── malformed, no_pair, ... ──▶ Ledger (counts), ExamplePool (to be listed)
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.decontamination.eval_sets import field_names
from pipeline.errors import InputError
from pipeline.ingest.readers import InputFile
from pipeline.ingest.records import RawRecord
from pipeline.progress import StageProgress
from synth.task_data.config import TaskSourceConfig
from synth.task_data.examples import BadItem, Origin, TaskExample, is_format_problem
from synth.task_data.formats import FORMATS
from synth.task_data.inputs import read_task_records
from synth.task_data.leaving import LeaveOut
from synth.task_data.pool import ExamplePool, Place

_FIELDS_SHOWN = 12


@dataclass
class Ledger:
    """Numbers by the folder whose first part reports them: that of a data set or of a source."""

    dropped: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    counts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def drop(self, folder: str, reason: str, num_pairs: int = 0) -> None:
        """Count a dropped example, or an item that is none, with its pairs."""
        self.dropped[folder][reason] += 1
        if num_pairs:
            self.counts[folder][f"pairs_dropped.{reason}"] += num_pairs

    def folders(self) -> list[str]:
        """Folders that have anything to report, sorted."""
        return sorted(self.dropped.keys() | self.counts.keys())


class TaskReader:
    """Reads one source after another."""

    def __init__(self, leave_out: LeaveOut, pool: ExamplePool, ledger: Ledger) -> None:
        """Take what is left out, and where examples and counts go."""
        self._leave_out, self._pool, self._ledger = leave_out, pool, ledger
        self._num_records = 0

    def read(
        self,
        name: str,
        source: TaskSourceConfig,
        files: Sequence[InputFile],
        progress: StageProgress,
    ) -> None:
        """Read all files of a source.

        Raises:
            InputError: a file in which nothing is of the source's format.
            DamagedInputError: a truncated or corrupt file.
        """
        for number, file in enumerate(files, start=1):
            check = _FormatCheck(name, source, file)
            for record in read_task_records(source, file):
                self._ledger.counts[name]["input_records"] += 1
                self._num_records += 1
                progress.update(self._num_records, source=name, file=f"{number}/{len(files)}")
                self._take_record(record, name, source, check)
            check.require_any()

    def _take_record(
        self, record: RawRecord, name: str, source: TaskSourceConfig, check: "_FormatCheck"
    ) -> None:
        place = Place(name, source.format, record.file, record.line)
        if record.value is None:
            check.note([record.problem], is_fine=False)
            self._drop(name, BadItem(record.problem, record.excerpt), place)
            return
        check.fields = check.fields or record.value
        is_empty = True
        for item in FORMATS[source.format].convert(record.value, Origin(name, record.file)):
            is_empty = False
            if isinstance(item, BadItem):
                check.note([item.reason], is_fine=not is_format_problem(item.reason))
                self._drop(name, item, place)
            else:
                problems = [] if item.pairs else list(item.dropped_pairs)
                check.note(problems, is_fine=not any(map(is_format_problem, problems)))
                self._take_example(item, place)
        if is_empty:
            self._drop(name, BadItem.of("empty_record", record.value), place)

    def _take_example(self, example: TaskExample, place: Place) -> None:
        if self._leave_out.covers((example.dataset, *example.origins)):
            self._ledger.drop(place.source, "left_out", len(example.pairs))
            self._ledger.counts[place.source][f"left_out.{example.dataset}"] += 1
            return
        counts = self._ledger.counts[example.dataset]
        for reason, count in example.dropped_pairs.items():
            counts[f"pairs_dropped.{reason}"] += count
        if not example.pairs:
            item = BadItem.of("no_pair", example.context)
            self._drop(example.dataset, item, place, pairs=dict(example.dropped_pairs))
            return
        is_merged, num_repeated = self._pool.add(example, place)
        if is_merged:
            counts["merged_examples"] += 1
        if num_repeated:
            counts["pairs_dropped.duplicate_question"] += num_repeated

    def _drop(self, folder: str, item: BadItem, place: Place, **details: Any) -> None:
        self._ledger.drop(folder, item.reason)
        self._pool.note_dropped(folder, dropped_record(item.reason, place, item.excerpt, **details))


def dropped_record(reason: str, place: Place, excerpt: str, **details: Any) -> dict[str, Any]:
    """What is listed of a dropped record, with the fields that ingest lists."""
    where = {"file": place.file, "line": place.line}
    return {"reason": reason, **where, "excerpt": excerpt, **details}


class _FormatCheck:
    """Whether anything in a file is of the format that it is said to be."""

    def __init__(self, name: str, source: TaskSourceConfig, file: InputFile) -> None:
        self._name, self._source, self._file = name, source, file
        self._problems: Counter[str] = Counter()
        self._is_any_fine = False
        self.fields: dict[str, Any] = {}

    def note(self, problems: Sequence[str], *, is_fine: bool) -> None:
        self._is_any_fine = self._is_any_fine or is_fine
        if not is_fine:
            self._problems.update(problems)

    def require_any(self) -> None:
        if self._is_any_fine or not self._problems:
            return
        names = sorted(field_names(self.fields))
        found = ", ".join(names[:_FIELDS_SHOWN]) + (", ..." if names[_FIELDS_SHOWN:] else "")
        reasons = ", ".join(f"{reason} {n}" for reason, n in self._problems.most_common())
        raise InputError(
            f"sources.{self._name}: nothing in {self._file.uri} is of the format "
            f"{self._source.format!r} ({reasons}); its fields are {found or 'none'}, wanted are "
            f"{FORMATS[self._source.format].wanted}; correct `format`, or leave the file out"
        )

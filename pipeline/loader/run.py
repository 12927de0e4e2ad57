"""The rows of one training run: which schedule over which rows, from its first row to any state.

    packed rows + [mixture] + length + seed ──▶ RunRows ──state──▶ Loader

A state says how many rows have been served, how the weights were changed, and how large each source
was over the run. With it the same rows come again, also where sources have grown since.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from pipeline.config import StrictConfig
from pipeline.errors import InputError
from pipeline.loader.loader import Loader
from pipeline.loader.order import Growth, Size
from pipeline.loader.packed import PackedRows, SplitSize, digest_of
from pipeline.mixture.config import MixtureConfig
from pipeline.mixture.planning import PackedSources, plan_schedule
from pipeline.mixture.schedule import Event, Mixture
from pipeline.names import RelativeName
from pipeline.rows import ROWS_SUFFIX
from pipeline.stage import read_manifest


class Snapshot(StrictConfig):
    """All sources from row `row` of a run on."""

    row: int
    sizes: dict[RelativeName, SplitSize]


class LoaderState(StrictConfig):
    """Where a run stands in its data; grows with sources and events, not with the corpus."""

    rows: int = Field(default=0, ge=0)
    """Rows served, on all ranks together."""
    events: list[dict[str, Any]] = Field(default_factory=list)
    """Changes of the weights so far."""
    history: list[Snapshot] = Field(default_factory=list)
    """Sizes of the sources, from row 0 on."""

    @classmethod
    def read(cls, state: Mapping[str, Any]) -> "LoaderState":
        """Take what `state_dict` returned.

        Raises:
            InputError: it is something else.
        """
        try:
            read = cls.model_validate(state)
            read.changes()
        except (KeyError, TypeError, ValueError) as error:
            detail = str(error).splitlines()[0]
            raise InputError(
                f"loader state {str(state)[:200]}: not one that state_dict returned ({detail})"
            ) from error
        return read

    def changes(self) -> list[Event]:
        """The events."""
        return [Event(int(e["row"]), tuple(map(float, e["weights"]))) for e in self.events]


@dataclass(frozen=True)
class RunRows:
    """Everything that decides which rows a run sees."""

    rows: PackedRows
    config: MixtureConfig
    total_rows: int
    """Rows of the whole run, over which its phases extend."""
    seed: int = 0
    allow_append: bool = False
    """Whether sources may have grown since the state was taken."""
    num_threads: int = 2
    """Threads that read ahead; never decides what is read."""

    def loader(self, state: LoaderState) -> tuple[Loader, LoaderState]:
        """The loader at a state, and the state with what has grown since.

        Raises:
            InputError: the mixture cannot be had of these rows, or they are not the rows of the
                state and may not, or did not, only grow.
        """
        history = self._history(state)
        mixture = self._mixture(history, state.changes())
        growths: dict[str, list[Growth]] = {name: [] for name in mixture.names}
        for snapshot in history:
            draws = mixture.counts_before(snapshot.row).tolist()
            for name, draw in zip(mixture.names, draws, strict=True):
                size = snapshot.sizes[name]
                found = growths[name]
                new = Size(size.full_frames, size.tail_rows)
                if not found or found[-1].size != new:
                    found.append(Growth(draw, new))
        loader = Loader(
            self.rows,
            mixture,
            window_frames=self.config.window_frames,
            num_threads=self.num_threads,
            growths=growths,
        )
        return loader, state.model_copy(update={"history": history})

    def newcomers(self, state: LoaderState) -> list[str]:
        """Sources that were not there when the run of a state began."""
        known = state.history[0].sizes if state.history else self.rows.split_sizes()
        return sorted(self.rows.split_sizes().keys() - known.keys())

    def _mixture(self, history: list[Snapshot], events: list[Event]) -> Mixture:
        """Each plan from its snapshot on, and the events in their places."""
        mixture: Mixture | None = None
        for snapshot, following in zip(history, [*history[1:], None], strict=True):
            if mixture is None:
                mixture = self._plan(snapshot)
            elif not (self.config.online and mixture.events):  # what a rule has learned stays
                mixture = mixture.continued(snapshot.row, self._plan(snapshot))
            end = following.row if following else None
            due = [e for e in events if e.row >= snapshot.row and (end is None or e.row < end)]
            mixture = mixture.replay(due)
        assert mixture is not None
        return mixture

    def _plan(self, snapshot: Snapshot) -> Mixture:
        sizes = {name: size.rows for name, size in snapshot.sizes.items()}
        sources = PackedSources(sizes, self.rows.seq_len)
        return plan_schedule(self.config, sources, self.total_rows, self.seed)

    def _history(self, state: LoaderState) -> list[Snapshot]:
        present = self.rows.split_sizes()
        if not state.history:
            return [Snapshot(row=0, sizes=present)]
        last = state.history[-1]
        known = {name: size for name, size in present.items() if name in last.sizes}
        if last.sizes == known:  # a source that this run does not know does not concern it
            return state.history
        if not self.allow_append:
            changed = sorted(name for name, size in known.items() if last.sizes[name] != size)
            gone = sorted(last.sizes.keys() - known.keys())
            raise InputError(
                f"{self.rows.folder}: the rows of {', '.join([*changed, *gone])} are not those "
                f"this run began with; if shards were only added, go on with --allow-append"
            )
        self._require_prefixes(last, known)
        return [*state.history, Snapshot(row=state.rows, sizes=known)]

    def _require_prefixes(self, last: Snapshot, present: Mapping[str, SplitSize]) -> None:
        """Refuse rows whose first shards are not the ones seen so far.

        Raises:
            InputError: names the source.
        """
        parts = read_manifest(self.rows.folder).parts
        for name, seen in last.sizes.items():
            if present.get(name) == seen:
                continue
            prefix = f"{name}/{self.rows.split}/"
            shards = [
                entry
                for entry in parts
                if entry.records
                and entry.name.startswith(prefix)
                and entry.name.endswith(ROWS_SUFFIX)
            ]
            if digest_of(shards[: seen.shards]) != seen.digest:
                raise InputError(
                    f"{self.rows.folder}: the first {seen.shards} shards of {name} are not the "
                    f"ones this run has seen, so its rows cannot keep their places; pack the old "
                    f"parts as they were, or train in another run.dir"
                )

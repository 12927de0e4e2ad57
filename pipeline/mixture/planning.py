"""From settings and packed sources to the schedule of a run, and what that run will see.

phases   until 0.5: raw 1          rows 0 .. 500      raw 500
         until 1.0: ramp to 1:1    rows 500 .. 1000   raw 375, augmented 125
"""

import difflib
import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from pipeline.errors import InputError
from pipeline.mixture import rules
from pipeline.mixture.config import BlendConfig, MixtureConfig
from pipeline.mixture.schedule import Mixture, Piece


@dataclass(frozen=True)
class PackedSources:
    """What there is to mix: training rows by source name."""

    num_rows: Mapping[str, int]
    seq_len: int
    """Tokens of a row."""


@dataclass(frozen=True)
class PhasePlan:
    """What a run draws between two rows of it."""

    start: int
    end: int
    counts: np.ndarray
    """(num_sources,) int64 rows, exact."""


@dataclass(frozen=True)
class MixturePlan:
    """What a run of known length will see."""

    mixture: Mixture
    """The schedule."""
    num_rows: np.ndarray
    """(num_sources,) int64 packed rows."""
    seq_len: int
    phases: tuple[PhasePlan, ...]
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The sources that the run uses."""
        return self.mixture.names

    @property
    def counts(self) -> np.ndarray:
        """(num_sources,) int64 rows over the whole run."""
        total: np.ndarray = np.sum([phase.counts for phase in self.phases], axis=0)
        return total

    @property
    def epochs(self) -> np.ndarray:
        """(num_sources,) float64: how often each source is seen."""
        epochs: np.ndarray = self.counts / self.num_rows
        return epochs


def check_names(config: MixtureConfig, known: Iterable[str]) -> None:
    """Refuse names and patterns that fit no source.

    Raises:
        InputError: names it, the nearest known one, and all of them.
    """
    names = sorted(known)
    first = config.high_resource_first
    for name in sorted({n for blend in config.blends() for n in blend.names_given()}):
        if name not in names:
            raise InputError(f"mixture.weights names {name!r}{_nearest(name, names)}")
    for blend in config.blends():
        check_patterns("mixture", blend.patterns_given(), names)
    check_patterns("mixture.high_resource_first", first.sources if first else (), names)


def check_patterns(setting: str, patterns: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a pattern of names that fits no source.

    Raises:
        InputError: names the setting, the pattern and what there is.
    """
    names = sorted(known)
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise InputError(f"{setting}: {pattern!r} fits no source{_nearest(pattern, names)}")


def plan_schedule(
    config: MixtureConfig, sources: PackedSources, total_rows: int, seed: int
) -> Mixture:
    """The schedule of a run of `total_rows` rows.

    Raises:
        InputError: an unknown source, one with weight and without rows, weights that sum to 0, or
            a source repeated more than `max_epochs` times; each with what to do.
    """
    check_names(config, sources.num_rows)
    names = sorted(sources.num_rows)
    sizes = np.array([sources.num_rows[name] for name in names], dtype=np.float64)
    used = np.zeros(len(names))
    stretches: list[Piece] = []
    for start, end, blend, ramps in _stretches(config, sources, total_rows):
        room = (config.max_epochs or 0) * sizes - used
        cap_rows = (blend.cap_tokens or 0) / sources.seq_len
        shares = _shares(blend, names, sizes, (end - start, room, cap_rows))
        before = stretches[-1].last if ramps else shares
        piece = Piece(start, before, shares, end - start if ramps else 0, end)
        used = used + piece.earned(end - start)
        stretches.append(piece)
    _require_cap(config, names, sizes, used)
    chosen = [n for n in range(len(names)) if any(p.first[n] or p.last[n] for p in stretches)]
    pieces = [replace(p, first=p.first[chosen], last=p.last[chosen]) for p in stretches]
    pieces.append(Piece(total_rows, pieces[-1].last, pieces[-1].last))  # what is asked beyond
    shortest = min(piece.end - piece.start for piece in stretches)
    block_rows = config.block_rows or max(16, min(1024, shortest // 32))
    return Mixture([names[number] for number in chosen], pieces, seed, block_rows)


def plan_run(
    config: MixtureConfig, sources: PackedSources, total_rows: int, seed: int
) -> MixturePlan:
    """What a run of `total_rows` rows draws of each source, phase by phase.

    Raises:
        InputError: see `plan_schedule`.
    """
    mixture = plan_schedule(config, sources, total_rows, seed)
    borders = [piece.start for piece in mixture.pieces if piece.start < total_rows]
    phases = [
        PhasePlan(start, end, mixture.counts_before(end) - mixture.counts_before(start))
        for start, end in pairwise([*borders, total_rows])
    ]
    num_rows = np.array([sources.num_rows[name] for name in mixture.names], dtype=np.int64)
    plan = MixturePlan(mixture, num_rows, sources.seq_len, tuple(phases))
    return replace(plan, warnings=_warnings(config, plan, sources))


def _stretches(
    config: MixtureConfig, sources: PackedSources, total_rows: int
) -> Iterable[tuple[int, int, BlendConfig, bool]]:
    """Start, end, weights and whether they are ramped to, in order."""
    if config.phases:
        ends = [round(phase.until * total_rows) for phase in config.phases]
        for start, end, phase in zip([0, *ends], ends, config.phases, strict=False):
            if end == start:
                raise InputError(
                    f"mixture: the phase until {phase.until:g} has no row in a run of {total_rows}"
                )
            yield start, end, phase, phase.ramp
        return
    start = 0
    if first := config.high_resource_first:
        start = min(max(1, round(first.until * total_rows)), total_rows - 1)
        large = {
            name: float(rows)
            for name, rows in sources.num_rows.items()
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in first.sources)
        }
        yield 0, start, BlendConfig(weights=large), False
    yield start, total_rows, config, False


def _shares(
    blend: BlendConfig,
    names: Sequence[str],
    sizes: np.ndarray,
    limits: tuple[int, np.ndarray, float],
) -> np.ndarray:
    """Shares of all sources by the rule of `blend`."""
    budget, room, cap_rows = limits
    rule = blend.rule_in_use()
    weighed = rules.repeated(names, sizes, blend.repeat)
    if rule != "explicit" and not sizes.any():
        raise InputError("mixture: no source has a training row; pack more text")
    if rule != "explicit" and not weighed.any():
        raise InputError("mixture.repeat makes every source count 0 times; leave one out")
    match rule:
        case "explicit":
            shares = np.array([blend.weights.get(name, 0.0) for name in names])
            _require_rows(names, sizes, shares)
        case "proportional":
            shares = rules.proportional(weighed)
        case "temperature":
            assert blend.temperature is not None
            shares = rules.temperature(weighed, blend.temperature)
        case "size_capped":
            shares = rules.size_capped(weighed, cap_rows)
        case "unimax":
            shares = rules.unimax(sizes, budget, np.maximum(room, 0.0))
        case "ratio":
            shares = rules.ratio(names, weighed, blend.ratio)
    if not shares.sum():
        raise InputError("the mixture weights sum to 0; give at least one source a weight")
    normalised: np.ndarray = shares / shares.sum()
    return normalised


def _require_rows(names: Sequence[str], sizes: np.ndarray, weights: np.ndarray) -> None:
    for name, size, weight in zip(names, sizes, weights, strict=True):
        if weight > 0 and size == 0:
            raise InputError(
                f"mixture weight of {name!r} is {weight:g}, but it has no training row; "
                f"pack more text or take it out of the mixture"
            )


def _require_cap(
    config: MixtureConfig, names: Sequence[str], sizes: np.ndarray, used: np.ndarray
) -> None:
    if config.max_epochs is None:
        return
    epochs = np.divide(used, sizes, out=np.zeros_like(used), where=sizes > 0)
    worst = int(np.argmax(epochs))
    if epochs[worst] > config.max_epochs * (1 + 1e-6):
        raise InputError(
            f"mixture: the run takes {epochs[worst]:.2f} epochs of {names[worst]!r} "
            f"({int(used[worst]):,} rows of {int(sizes[worst]):,}), and mixture.max_epochs is "
            f"{config.max_epochs:g}; lower its weight, raise max_epochs, shorten the run "
            f"(train.num_steps), or let rule = 'unimax' share what is left"
        )


def _warnings(config: MixtureConfig, plan: MixturePlan, sources: PackedSources) -> tuple[str, ...]:
    found = [
        f"{name}: {epochs:.1f} epochs; repeated more than {config.warn_epochs:g} times, text "
        f"teaches less: lower its weight or set mixture.max_epochs"
        for name, epochs in zip(plan.names, plan.epochs.tolist(), strict=True)
        if epochs > config.warn_epochs
    ]
    if unused := sorted(name for name in sources.num_rows if name not in plan.names):
        shown = ", ".join(unused[:5]) + (", ..." if len(unused) > 5 else "")
        found.append(f"packed but not in the mixture: {shown}")
    return tuple(found)


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    return f"{hint} These sources give rows: {shown}" if hint else f"; these give rows: {shown}"

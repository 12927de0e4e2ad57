"""The checkpoints of a run that is under way, on all of its ranks together."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pipeline.errors import InputError
from train.checkpoints.engine_state import EngineState
from train.checkpoints.marker import (
    CheckpointMarker,
    find_damage,
    list_complete,
    list_damaged_markers,
    remove,
    remove_unmarked,
    set_aside,
    step_of,
    tag_of,
)
from train.checkpoints.reading import CheckpointReader, buffer_key, random_key
from train.checkpoints.writing import CheckpointWriter
from train.process_group import Host

_POLL_S = 0.05


class RunCheckpoints:
    """Finds, restores and writes checkpoints; every method is called by all ranks alike."""

    def __init__(self, folder: str, instance: str, host: Host, keep: int, keep_every: int) -> None:
        """Work below `folder`; removes what saves that were cut off left behind.

        Args:
            folder: of all checkpoints, the same for all ranks.
            instance: execution of the training stage; checkpoints of others do not count.
            host: the ranks.
            keep: newest checkpoints kept.
            keep_every: those at multiples of so many steps are kept, too; 0: none.
        """
        self._folder, self._instance, self._host = folder, instance, host
        self._writer = CheckpointWriter(folder, keep, keep_every)
        self._has_failed = False
        if host.rank == 0:
            Path(folder).mkdir(parents=True, exist_ok=True)
            remove_unmarked(folder)
        host.barrier()

    def newest(self) -> CheckpointMarker | None:
        """The newest checkpoint whose files are whole; says which are not, and sets them aside.

        They would count among those to keep, and what they stand for will be done again.

        Raises:
            InputError: there are checkpoints, and none is whole.
        """
        is_first = self._host.rank == 0
        damaged = list_damaged_markers(self._folder) if is_first else []
        steps = [marker.step for marker in self._complete()] if is_first else []
        num_damaged, num_found = self._host.from_first([len(damaged), len(steps)]).astype(int)
        marker = self._find_whole(steps, int(num_found))
        if marker is None and num_damaged + num_found:
            raise InputError(
                f"{self._folder}: none of the {num_damaged + num_found} checkpoints is whole; "
                f"bring one back from a copy, or remove {Path(self._folder).parent} to begin anew"
            )
        if is_first and marker is not None:
            for path in damaged:
                _say(f"passed over the checkpoint that {path} marked: it is damaged")
                set_aside(self._folder, step_of(path))
            for later in [step for step in steps if step > marker.step]:
                set_aside(self._folder, later)
            remove_unmarked(self._folder)
        self._host.barrier()
        return marker

    def _find_whole(self, steps: list[int], num_found: int) -> CheckpointMarker | None:
        """Of rank 0's `steps`, `num_found` on every rank, the last one that is whole."""
        for at in range(1, num_found + 1):
            step = int(self._host.from_first([steps[-at] if steps else 0])[0])
            # A rank that does not see the marker of a shared file system yet has damage to report.
            marker = next((each for each in self._complete() if each.step == step), None)
            damage = (
                find_damage(self._folder, marker, self._host.rank, self._host.num_ranks)
                if marker
                else f"{self._folder}/{tag_of(step)}.json cannot be read"
            )
            if damage:
                _say(f"passed over the checkpoint of step {step}: {damage}")
            if not self._host.any(damage is not None):
                return marker
        return None

    def restore(self, marker: CheckpointMarker, state: EngineState, model: torch.nn.Module) -> None:
        """Load weights, optimizer state, buffers and random states."""
        reader = CheckpointReader(self._folder, marker)
        state.load(reader.read, marker.optimizer_steps)
        own = dict(model.named_buffers())
        for name, value in reader.buffers().items():
            own[name].copy_(value)
        self._restore_random_state(reader, marker)

    def save(
        self,
        marker: CheckpointMarker,
        state: EngineState,
        model: torch.nn.Module,
        is_async: bool = True,
    ) -> float:
        """Begin a checkpoint, or with `is_async` False write it; returns the seconds it took here.

        One that is still being written is waited for.
        """
        started = time.monotonic()
        self.finish()
        self._has_failed = self._host.any(not self._make_folder(marker.step))
        if self._has_failed:
            return time.monotonic() - started
        extras = _random_states()
        if self._host.rank == 0:
            kept = model.state_dict().keys()
            extras |= {
                buffer_key(name): each for name, each in model.named_buffers() if name in kept
            }
        self._writer.begin(marker, state.fragments(), extras)
        if not is_async:
            self.finish()
        return time.monotonic() - started

    def _make_folder(self, step: int) -> bool:
        """On rank 0: an empty folder for a checkpoint; False if it cannot be had."""
        if self._host.rank > 0:
            return True
        try:
            remove(self._folder, step)
            (Path(self._folder) / tag_of(step)).mkdir(parents=True)
        except OSError as error:
            _say(f"error: the checkpoint of step {step} cannot be written: {error}")
            return False
        return True

    def clean_up_failure(self) -> bool:
        """After a step: drop the save if a rank could not write its part; whether that was so."""
        if not self._host.any(self._writer.failure is not None):
            return False
        self._drop()
        return True

    def finish(self) -> bool:
        """Wait for the save under way; False if the last one failed."""
        while not self._has_failed:
            failed, busy = self._host.sum([self._writer.failure is not None, self._writer.is_busy])
            if failed:
                self._drop()
            elif not busy:
                self._writer.join()
                return True
            else:
                time.sleep(_POLL_S)
        return False

    def give_up(self) -> None:
        """Count the save that was to be as failed, without beginning it."""
        self.finish()
        self._has_failed = True

    def _drop(self) -> None:
        self._writer.give_up()
        self._writer.failure, self._has_failed = None, True
        self._host.barrier()
        if self._host.rank == 0:
            self._writer.remove_partial()

    def _complete(self) -> list[CheckpointMarker]:
        return list_complete(self._folder, self._instance)

    def _restore_random_state(self, reader: CheckpointReader, marker: CheckpointMarker) -> None:
        """That of the same rank; on another number of ranks one of its own, from the step."""
        setters: dict[str, Callable[[torch.Tensor], None]] = {"cpu": torch.set_rng_state}
        if torch.cuda.is_available():
            setters["cuda"] = torch.cuda.set_rng_state
        if marker.num_ranks != self._host.num_ranks:
            torch.manual_seed(marker.step * self._host.num_ranks + self._host.rank)
            return
        for device, put in setters.items():
            if (found := reader.random_state(self._host.rank, device)) is not None:
                put(found)


def _random_states() -> dict[str, torch.Tensor]:
    states = {random_key("cpu"): torch.get_rng_state()}
    if torch.cuda.is_available():
        states[random_key("cuda")] = torch.cuda.get_rng_state()
    return states


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

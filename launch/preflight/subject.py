"""What a preflight looks at: a run, what is left of it to do, and the hosts it is for."""

import contextlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Thread

from launch.config import PipelineConfig, TuneConfig
from launch.over_ssh import OverSsh
from launch.placement import DEFAULT_PORT
from launch.stages import Invocation, stages_of
from pipeline.ingest.config import IngestConfig
from pipeline.stage import Manifest, find_manifest
from synth.config import FilterConfig, SynthConfig

GIB = 2**30
_LOOKING_LIMIT_S = 10.0


@dataclass(frozen=True)
class Where:
    """Where the run is to run, as the command line says it."""

    hostfile: str = ""
    num_nodes: int = 1
    master_addr: str = ""
    master_port: int = 0
    """0: not given, which on one host means any free one."""
    address: str = ""
    """Of a Ray job server."""
    gpu_gib: float = 0.0
    """Memory of an accelerator, where it is not the one of this machine; 0: that one."""

    @property
    def over_ssh(self) -> OverSsh | None:
        """The hosts of the hostfile, if there is one."""
        if not self.hostfile:
            return None
        port = self.master_port or DEFAULT_PORT
        return OverSsh(Path(self.hostfile), self.master_addr, port)

    @cached_property
    def hosts(self) -> dict[str, int]:
        """Ranks by host of the hostfile; none without one.

        Raises:
            InputError: the file is missing or has a line that is none.
        """
        return self.over_ssh.hosts if self.over_ssh is not None else {}

    @property
    def nodes_of_training(self) -> int:
        """Hosts that training runs on."""
        return len(self.hosts) or self.num_nodes


@dataclass(frozen=True)
class Subject:
    """A run to be looked at."""

    invocation: Invocation[PipelineConfig] | Invocation[TuneConfig]
    where: Where

    @property
    def config(self) -> PipelineConfig | TuneConfig:
        """All settings."""
        return self.invocation.config

    @cached_property
    def complete(self) -> dict[str, Manifest]:
        """Stages that are done already, by name; nothing that they need is looked at."""
        found: dict[str, Manifest] = {}
        looking = Thread(target=self._find_complete, args=(found,), daemon=True)
        looking.start()
        looking.join(_LOOKING_LIMIT_S)
        return dict(found)

    def _find_complete(self, found: dict[str, Manifest]) -> None:
        # A store that fails or hangs is for the check of the storage to say; until it is mended,
        # everything counts as still to be done. Stores have errors of their own.
        with contextlib.suppress(Exception):
            for stage in stages_of(self.config):
                manifest = find_manifest(stage.folder_of(self.config.folder))
                if manifest is not None:
                    found[stage.name] = manifest

    @cached_property
    def pending(self) -> tuple[str, ...]:
        """Stages still to be done, in order."""
        names = (stage.name for stage in stages_of(self.config))
        return tuple(name for name in names if name not in self.complete)

    @property
    def ingest(self) -> IngestConfig | None:
        """Corpora, if the run has any and ingest is to be done."""
        return self.config.ingest if "ingest" in self.pending else None

    @property
    def synth(self) -> SynthConfig | None:
        """The synthesis that is to be done, if there is one."""
        return self.config.synth if "synth" in self.pending else None

    @property
    def filter(self) -> FilterConfig | None:
        """The filter stage that is to be done, if there is one."""
        return self.config.filter if "filter" in self.pending else None

    @property
    def num_ranks(self) -> int:
        """Ranks of the training, over all hosts."""
        slots = sum(self.where.hosts.values())
        return slots or self.config.train.num_ranks * self.where.num_nodes

    @property
    def ranks_of_a_host(self) -> int:
        """Ranks of the host that has most of them."""
        return max(self.where.hosts.values(), default=self.config.train.num_ranks)

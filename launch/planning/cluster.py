"""The machines that a plan is for."""

from dataclasses import dataclass

from launch.planning.rates import Rates
from pipeline.errors import InputError
from train.accelerators import peak_flops
from train.config import TrainConfig

CPU = "cpu"


@dataclass(frozen=True)
class Cluster:
    """Nodes that are all alike."""

    gpu: str
    """Name out of the table, or `cpu`: the rates of a run without accelerators."""
    num_nodes: int
    gpus_per_node: int
    price: float = 0.0
    """Of a GPU-hour, in any currency."""
    preemptions_per_day: float = 0.0
    """Times a day that each node is reclaimed."""

    def __post_init__(self) -> None:
        """Refuse what is no cluster.

        Raises:
            InputError: names the value, the rule and what to give.
        """
        for option, value in (("nodes", self.num_nodes), ("gpus-per-node", self.gpus_per_node)):
            if value < 1:
                raise InputError(f"--{option} ({value}) must be at least 1; give another number")
        for option, amount in (
            ("price", self.price),
            ("preemptions-per-day", self.preemptions_per_day),
        ):
            if not 0 <= amount < float("inf"):
                raise InputError(f"--{option} ({amount:g}) must be 0 or more; give another number")

    @property
    def num_gpus(self) -> int:
        """Of all nodes."""
        return self.num_nodes * self.gpus_per_node


def require_known(gpu: str, rates: Rates) -> None:
    """Refuse a device that there are no rates for.

    Raises:
        InputError: names those that there are.
    """
    if gpu == CPU:
        if rates.origin == "shipped":
            raise InputError(
                "--gpu cpu: the shipped table has no rates of an engine or of training on CPUs; "
                "give --rates RUN, a finished run on such a machine"
            )
    elif gpu not in rates.gpus:
        raise InputError(f"--gpu {gpu!r}: must be one of {', '.join([*rates.gpus, CPU])}")


def peak_of(gpu: str, rates: Rates, train: TrainConfig) -> float:
    """FLOPs a second of one device at its peak, in the type that training computes in.

    Raises:
        InputError: the device has no hardware for the type.
    """
    peak = peak_flops(rates.gpus[gpu], train.precision)
    if peak is None:
        raise InputError(
            f"--gpu {gpu}: no peak is known in train.precision = {train.precision}; set another"
        )
    return peak

"""`ipt compare`: the same model trained on the data of several arms, with several seeds each."""

from launch.experiment.run import run_compare

__all__ = ["run_compare"]

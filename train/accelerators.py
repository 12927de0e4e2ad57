"""Peak speed of accelerators, from their makers' data sheets."""

import re
from dataclasses import dataclass
from typing import Literal

Dtype = Literal["bf16", "fp16", "fp32"]


@dataclass(frozen=True)
class _Peak:
    """Dense TFLOPs a second of a device whose name has all these words; None: not known."""

    words: str
    bf16: float | None
    fp32: float | None = None
    fp16: float | None = None
    """Where it differs from bf16."""


# The first that matches counts: variants come before the plain name. A matrix product in bf16 and
# fp16 sums up in fp32; fp32 is without TF32.
_PEAKS = (
    _Peak("B200", 2250),
    _Peak("H200 NVL", 835, 60),
    _Peak("H200", 989, 67),
    _Peak("GH200", 989, 67),
    _Peak("H100 NVL", 835, 60),
    _Peak("H100 PCIE", 756, 51),
    _Peak("H100", 989, 67),
    _Peak("H800 PCIE", 756, 51),
    _Peak("H800", 989, 67),
    _Peak("A100", 312, 19.5),
    _Peak("A800", 312, 19.5),
    _Peak("A30", 165, 10.3),
    _Peak("A40", 149.7, 37.4),
    _Peak("A10", 125, 31.2),
    _Peak("RTX A6000", 154.8, 38.7),
    _Peak("L40S", 362, 91.6),
    _Peak("L40", 181, 90.5),
    _Peak("L4", 121, 30.3),
    _Peak("RTX 4090", 165, 82.6),
    _Peak("RTX 3090", 71, 35.6),
    _Peak("V100 PCIE", None, 14, fp16=112),
    _Peak("V100", None, 15.7, fp16=125),
    _Peak("T4", None, 8.1, fp16=65),
    _Peak("MI325X", 1307, 163.4),
    _Peak("MI300X", 1307, 163.4),
    # 383 a card; its two dies are two devices.
    _Peak("MI250X", 191.5),
)
# A part of a device, or a slower one of the same name.
_OTHER = {"MIG", "LAPTOP", "MAX", "D", "TI"}


def peak_flops(device_name: str, dtype: Dtype) -> float | None:
    """Dense FLOPs a second of one device.

    Args:
        device_name: as `torch.cuda.get_device_name` says it.
        dtype: of the operands of matrix products; fp32 is without TF32.

    Returns:
        None for a device that is not listed, or without hardware for the type.
    """
    words = set(re.split(r"[^A-Z0-9]+", device_name.upper()))
    if words & _OTHER:
        return None
    for peak in _PEAKS:
        if words.issuperset(peak.words.split()):
            half = peak.fp16 or peak.bf16 if dtype == "fp16" else peak.bf16
            tera = peak.fp32 if dtype == "fp32" else half
            return tera * 1e12 if tera else None
    return None

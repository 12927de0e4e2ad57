"""Numbers and texts as people read them."""

import math
import textwrap

_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k"))


def compact(number: float) -> str:
    """A count in at most five characters or so: 1,234 or 12.3k or 4.57M."""
    for size, unit in _UNITS:
        if abs(number) >= size:
            scaled = number / (1e3 if unit == "k" else size)
            return f"{scaled:.3g}{unit}" if scaled < 999.5 else f"{scaled:,.0f}{unit}"
    return f"{number:,.0f}"


def rate(number: float) -> str:
    """A rate with three digits where it is small."""
    return f"{number:.3g}" if number < 100 else compact(number)


def percent(share: float) -> str:
    """A share of 0..1 with one digit after the point; what is too small for it is not zero."""
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def share_of(part: float, whole: float) -> float:
    """`part / whole`, and 0 of nothing."""
    return part / whole if whole else 0.0


def plain(name: str) -> str:
    """A reason, kind or category without underscores."""
    return name.replace("_", " ")


def clip(text: str, max_chars: int) -> str:
    """The beginning of a text, with a mark where it was cut."""
    return text if len(text) <= max_chars else f"{text[:max_chars].rstrip()} \u2026"


def wrap_label(text: str, width: int = 24, max_lines: int = 2) -> list[str]:
    """A label of a chart in lines; what does not fit is cut with a mark."""
    return textwrap.wrap(text, width, max_lines=max_lines, placeholder=" \u2026") or [""]


def loss_text(loss: float | None) -> str:
    """A loss with three digits, or what is said where it is no number."""
    return f"{loss:.3f}" if loss is not None and math.isfinite(loss) else "not a number"

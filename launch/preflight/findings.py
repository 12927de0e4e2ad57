"""What a check found, and running checks so that none of them can end the others.

[ok]      storage   runs/mine can be written, renamed and removed
[problem] master    port 29500 is taken here: address already in use
                    -> choose another --master_port
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipeline.errors import InputError, JobFailedError
from pipeline.redaction import printable, redacted

State = Literal["ok", "warning", "problem"]
_STATE_WIDTH = len("[problem] ")


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    check: str
    """What was looked at, in a word."""
    state: State
    found: str
    """The value found and the rule it keeps or breaks."""
    remedy: str = ""
    """What to do; never empty where something is amiss."""

    def as_json(self) -> dict[str, str]:
        """All fields, for programs."""
        return asdict(self)


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", found)


def warning(check: str, found: str, remedy: str) -> Finding:
    """The run will work, but not as it should."""
    return Finding(check, "warning", found, remedy)


def problem(check: str, found: str, remedy: str) -> Finding:
    """The run will fail."""
    return Finding(check, "problem", found, remedy)


@dataclass(frozen=True)
class Check:
    """Something to look at."""

    name: str
    look: Callable[[], Iterable[Finding]]
    limit_s: float = 20.0
    """Seconds after which a check that hangs, as storage and networks do, counts as a problem."""


def run_checks(checks: Sequence[Check]) -> Iterator[Finding]:
    """What all checks find, in their order, each as soon as it is known."""
    for check in checks:
        yield from run_check(check)


def run_check(check: Check) -> list[Finding]:
    """What one check finds; an error in it and a wait without end are findings, too."""
    found: list[Finding] = []

    def look() -> None:
        try:
            found.extend(check.look())
        except (InputError, JobFailedError) as error:
            found.append(refusal(check.name, str(error)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other checks go on
            lines = str(error).strip().splitlines() or ["no message"]
            found.append(
                problem(
                    check.name,
                    f"{type(error).__name__}: {lines[0]}",
                    "mend what the error names, or report it if it names nothing of yours",
                )
            )

    thread = threading.Thread(target=look, daemon=True, name=f"check-{check.name}")
    thread.start()
    thread.join(check.limit_s)
    results = list(found)
    if thread.is_alive():
        results.append(
            problem(
                check.name,
                f"no answer within {check.limit_s:g} s",
                "look whether the storage, hub or host that it asks is up, and try again",
            )
        )
    return results


def refusal(check: str, message: str) -> Finding:
    """The finding of an error message, whose last clause says by our rule what to do."""
    found, semicolon, remedy = message.rpartition("; ")
    if not semicolon:
        found, remedy = message, "correct the setting that the message names"
    return problem(check, found, remedy)


def lines_of(finding: Finding, width: int) -> list[str]:
    """A finding for people: one line, and one more that says what to do.

    Args:
        finding: what to show.
        width: characters of the column of checks.
    """
    mark = f"[{finding.state}]".ljust(_STATE_WIDTH)
    first, *more = finding.found.splitlines() or [""]
    indent = " " * (_STATE_WIDTH + width + 2)
    lines = [f"{mark}{finding.check:<{width}}  {first}", *(indent + line for line in more)]
    if finding.remedy:
        lines += [
            indent + ("-> " if number == 0 else "   ") + line
            for number, line in enumerate(finding.remedy.splitlines())
        ]
    return [printable(line) for line in lines]


def as_report(findings: Sequence[Finding]) -> dict[str, Any]:
    """All findings for programs, and how many there are of each state."""
    counts: dict[str, Any] = {
        state: sum(each.state == state for each in findings) for state in _STATES
    }
    shown = [
        {name: redacted(text) for name, text in finding.as_json().items()} for finding in findings
    ]
    return {**counts, "findings": shown}


_STATES: tuple[State, ...] = ("ok", "warning", "problem")


def counted(number: int, noun: str) -> str:
    """A number of things for people."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shown_bytes(num_bytes: float) -> str:
    """A number of bytes for people."""
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if num_bytes >= size:
            return (
                f"{num_bytes / size:,.3g} {unit}"
                if num_bytes < 1000 * size
                else (f"{num_bytes / size:,.0f} {unit}")
            )
    return f"{num_bytes / 2**10:.3g} KiB"

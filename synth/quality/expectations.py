"""What a task lets its pairs be judged by, kept beside them so that later checks judge alike."""

from collections.abc import Mapping
from dataclasses import dataclass

LINKED, QUESTION_SUPPORT, SUPPORT = "linked", "min_question_support", "min_support"


@dataclass(frozen=True)
class Expectations:
    """What the checks have to know of the task that brought the pairs."""

    echoes: frozenset[str] = frozenset()
    """Strings of the examples that the prompt showed, by `echo.echo_strings`."""
    is_linked: bool = False
    """Each pair builds on the one before, so that after a dropped one all go."""
    min_question_support: float = 0.0
    """Least share of an instruction's content words that stand in the text
    (`question_beside_text`), for pairs whose instructions name what they ask about."""
    min_support: float | None = None
    """The same share of a response, where the task asks for other words than the text's (a summary,
    a conversation) and the configured share would be too strict; None: the configured one."""

    def provenance(self) -> dict[str, str]:
        """What is kept beside the pairs; the echoes matter only where the prompt is at hand."""
        fields = {LINKED: "yes"} if self.is_linked else {}
        if self.min_question_support:
            fields[QUESTION_SUPPORT] = f"{self.min_question_support:g}"
        if self.min_support is not None:
            fields[SUPPORT] = f"{self.min_support:g}"
        return fields


NOTHING_SPECIAL = Expectations()


def expectations_of(provenance: Mapping[str, str]) -> Expectations:
    """The expectations that were kept by `Expectations.provenance`."""
    support = provenance.get(SUPPORT)
    return Expectations(
        is_linked=LINKED in provenance,
        min_question_support=float(provenance.get(QUESTION_SUPPORT, 0)),
        min_support=None if support is None else float(support),
    )

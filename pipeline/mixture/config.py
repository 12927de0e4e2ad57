"""Settings of the mixture: one rule for the whole run, or phases with a rule each."""

import math
from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline.config import StrictConfig

Rule = Literal["explicit", "proportional", "temperature", "size_capped", "unimax", "ratio"]

_NEEDS = {
    "explicit": "weights",
    "temperature": "temperature",
    "size_capped": "cap_tokens",
    "ratio": "ratio",
}


class BlendConfig(StrictConfig):
    """Shares of the row sources by one rule."""

    rule: Rule | None = None
    """`explicit`: `weights`; `proportional` to rows; `temperature`: rows to the power of 1 / T;
    `size_capped`: in proportion, no source counting more than `cap_tokens`; `unimax`: evenly, no
    source for more than `mixture.max_epochs`; `ratio`: groups of sources. Left out: what the
    settings given are for, else `proportional`."""
    weights: dict[str, float] = Field(default_factory=dict)
    """Relative weight (share of tokens) by row source (`NAME-raw`, `NAME-augmented`)."""
    ratio: dict[str, float] = Field(default_factory=dict)
    """Relative weight by pattern of names (`*-raw`, `*-augmented`, `flan-raw`); the first that
    matches counts, and the sources of a group share its weight in proportion to their rows."""
    temperature: float | None = Field(default=None, gt=0)
    """1: in proportion to rows; the higher, the more even."""
    cap_tokens: int | None = Field(default=None, ge=1)
    """Tokens at which a source's size is cut when sizes are compared."""
    repeat: dict[str, float] = Field(default_factory=dict)
    """Source or pattern of names to the factor by which its size counts, as tuning data x 4."""

    def rule_in_use(self) -> Rule:
        """The rule, also where it follows from the settings given."""
        if self.rule is not None:
            return self.rule
        for rule, field in _NEEDS.items():
            if getattr(self, field):
                return rule  # type: ignore[return-value]
        return "proportional"

    @model_validator(mode="after")
    def _one_rule(self) -> "BlendConfig":
        rule = self.rule_in_use()
        for name, field in _NEEDS.items():
            if name == rule and not getattr(self, field):
                raise ValueError(f"rule {rule!r} needs {field}")
            if name != rule and getattr(self, field):
                raise ValueError(f"{field} is for rule {name!r}, not {rule!r}; leave out one")
        if self.repeat and rule in ("explicit", "unimax"):
            raise ValueError(f"repeat goes with rules that compare sizes, not with {rule!r}")
        for field in ("weights", "ratio", "repeat"):
            for name, value in getattr(self, field).items():
                if not 0 <= value < math.inf:
                    raise ValueError(
                        f"{field} of {name!r} is {value}; it must be finite and not negative"
                    )
        return self

    def describe(self) -> str:
        """The rule and its settings in a few words."""
        rule = self.rule_in_use()
        setting = getattr(self, _NEEDS[rule]) if rule in _NEEDS else None
        if isinstance(setting, dict):
            setting = ", ".join(f"{name} {weight:g}" for name, weight in setting.items())
        repeat = "".join(f", {name} x {factor:g}" for name, factor in self.repeat.items())
        return f"{rule}{f' ({setting})' if setting else ''}{repeat}"

    def names_given(self) -> set[str]:
        """Every source named outright."""
        return set(self.weights)

    def patterns_given(self) -> set[str]:
        """Every pattern of names."""
        return set(self.ratio) | set(self.repeat)


class PhaseConfig(BlendConfig):
    """A stretch of the run with weights of its own."""

    until: float = Field(gt=0, le=1)
    """Share of the run at which this phase ends; it starts where the one before ends."""
    ramp: bool = False
    """Weights move in a line from those of the phase before to these, over this whole phase."""


class HighResourceFirstConfig(StrictConfig):
    """Large sources alone first, then the mix (Order Matters, arXiv 2312.06134)."""

    sources: list[str] = Field(min_length=1)
    """Names or patterns of the large sources, in proportion to their rows."""
    until: float = Field(gt=0, lt=1)
    """Share of the run for which they are alone."""


class OnlineConfig(StrictConfig):
    """Weights that follow the losses; every change is a dated event of the schedule."""

    rule: Literal["odm", "coba"]
    """`odm`: a bandit that prefers sources of high loss (arXiv 2312.02406); `coba`: balances how
    fast the sources converge (arXiv 2410.06741)."""
    every_steps: int = Field(default=20, ge=1)
    """Steps between changes."""
    warmup_steps: int = Field(default=100, ge=0)
    """Steps before the first change."""
    smoothing: float = Field(default=0.9, ge=0, lt=1)
    """ODM: weight of past rewards in their moving average."""
    window_steps: int = Field(default=100, ge=2)
    """CoBa: steps over which slopes of the loss are fitted."""
    tau: float = Field(default=5.0, gt=0)
    """CoBa: temperature of the divergence factor."""
    min_share: float = Field(default=0.01, ge=0, lt=1)
    """CoBa: no source falls below this share of its even one."""


class MixtureConfig(BlendConfig):
    """How row sources are mixed."""

    phases: list[PhaseConfig] = Field(default_factory=list)
    """Phases in order, the last one until 1; none: one rule for the whole run."""
    high_resource_first: HighResourceFirstConfig | None = None
    """A phase of large sources only, before the rule."""
    max_epochs: float | None = Field(default=None, gt=0)
    """No source is repeated more often than this over the run; a mixture that would is refused."""
    warn_epochs: float = Field(default=4.0, gt=0)
    """`ipt mixture` warns of more repetitions (beyond four they teach less: arXiv 2305.16264)."""
    online: OnlineConfig | None = None
    """Change the weights by the losses while training."""
    block_rows: int = Field(default=0, ge=0)
    """Rows of a block: the order is shuffled within one, and counts are exact at its borders. 0:
    1024, or in short runs a 32nd of the shortest phase, but at least 16."""
    window_frames: int = Field(default=0, ge=0)
    """Frames of a source whose rows are shuffled together; 0: 256 shared among the sources, at
    most 64 and at least 1 each. More mixes better and takes more memory: each rank holds three
    times as many, two of them read ahead."""

    @model_validator(mode="after")
    def _phases_in_order(self) -> "MixtureConfig":
        if not self.phases:
            if self.high_resource_first and self.online:
                raise ValueError("high_resource_first and online exclude each other")
            if self.online and self.max_epochs is not None:
                raise ValueError("max_epochs cannot be kept by online, whose changes nobody knows")
            if self.rule_in_use() == "unimax" and self.max_epochs is None:
                raise ValueError("rule 'unimax' needs mixture.max_epochs, such as 1 or 4")
            return self
        if self.rule or any(getattr(self, field) for field in (*_NEEDS.values(), "repeat")):
            raise ValueError("with phases, rule and weights belong into each phase")
        if self.online or self.high_resource_first:
            raise ValueError("phases go with neither online nor high_resource_first")
        ends = [phase.until for phase in self.phases]
        if ends != sorted(set(ends)) or ends[-1] != 1:
            raise ValueError(f"phases end at {ends}; each must end later, the last at 1")
        if self.phases[0].ramp:
            raise ValueError("the first phase has none before it to ramp from")
        if self.max_epochs is None and any(p.rule_in_use() == "unimax" for p in self.phases):
            raise ValueError("rule 'unimax' needs mixture.max_epochs, such as 1 or 4")
        return self

    def describe(self) -> str:
        """All phases in a few words."""
        if self.phases:
            return "; ".join(
                f"{'ramp to ' if phase.ramp else ''}{phase.describe()} until {phase.until:g}"
                for phase in self.phases
            )
        first, text = self.high_resource_first, super().describe()
        if first:
            text = f"{', '.join(first.sources)} alone until {first.until:g}, then {text}"
        return f"{text}, changed online by {self.online.rule}" if self.online else text

    def blends(self) -> list[BlendConfig]:
        """Every set of weights in the order of the run."""
        return list(self.phases) or [self]

    def content_fields(self) -> dict[str, Any]:
        """The settings that decide the order of rows."""
        return self.model_dump(exclude={"warn_epochs"}, exclude_defaults=True)

    def pattern_order(self) -> list[list[str]]:
        """The patterns in their order, which counts and which a mapping's fields do not show."""
        found = [[*blend.ratio, *blend.repeat] for blend in self.blends()]
        return found if any(found) else []

"""From a document to its pairs: asked for, read, checked, and asked for again where none survives.

plan a task ─▶ fit the prompt ─▶ engine ─▶ parse ─▶ checks ─▶ (round trip) ─▶ pairs
     ▲                                                            │ none left
     └──────────────────── next attempt ──────────────────────────┘
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.contracts import Document, Pair
from synth.config import SynthConfig
from synth.engines.protocol import Engine, Prompt
from synth.pairs import ParsedPairs
from synth.protocols import WireProtocol, fit_prompt
from synth.quality.agreement import answers_agree
from synth.quality.checks import Checked, PairChecker, broken_off, sort_pairs
from synth.rules.mining import mine_tasks
from synth.tally import Tally
from synth.tasks import Task, Turn


@dataclass(frozen=True)
class Written:
    """What came of one document."""

    task: Task
    pairs: tuple[Pair, ...] = ()
    dropped: tuple[tuple[Pair, str, str], ...] = ()
    """Pairs that a check dropped, over all attempts, each with the reason and the task style."""
    provenance: dict[str, str] = field(default_factory=dict)


class PairWriter(Protocol):
    """Writes pairs about one document."""

    async def write(self, history: Sequence[Turn], document: Document, tally: Tally) -> Written:
        """Pairs about `document`, in sight of the earlier turns of its chain."""
        ...


class ModelWriter:
    """A synthesizer on an engine."""

    def __init__(
        self,
        config: SynthConfig,
        protocol: WireProtocol,
        engine: Engine,
    ) -> None:
        """Bind an engine to its protocol."""
        self._config, self._protocol, self._engine = config, protocol, engine
        self._checker = PairChecker(config.checks)
        self._prompt_budget = config.max_model_len - config.max_new_tokens

    async def write(self, history: Sequence[Turn], document: Document, tally: Tally) -> Written:
        """Ask until a pair survives or the attempts are used up."""
        dropped: list[tuple[Pair, str, str]] = []
        task = Task()
        for attempt in range(self._config.attempts):
            if attempt:
                tally.add("attempts_repeated")
            task = self._protocol.plan(document.id, document.text, attempt)
            if task.is_impossible:
                tally.add("fragments_dropped.no_answer_in_text")
                continue
            checked = await self._ask(history, document.text, task, tally)
            dropped += [(*verdict, task.style_name) for verdict in checked.dropped]
            if checked.kept:
                pairs = tuple(checked.kept)
                return Written(task, pairs, tuple(dropped), task.provenance())
        return Written(task, (), tuple(dropped))

    async def _ask(self, history: Sequence[Turn], text: str, task: Task, tally: Tally) -> Checked:
        # In a thread, so that the loop stays free to feed the engine; tokenizers let go of the GIL.
        fitted = await asyncio.to_thread(
            fit_prompt, self._protocol, history, text, task, self._prompt_budget
        )
        tally.add_all("prompts", fitted.events)
        schema = task.schema() if self._config.constrained else None
        reply = await self._generate(fitted.prompt, tally, schema)
        parsed = self._protocol.parse(reply, task)
        tally.add_all("fragments_dropped", parsed.dropped)
        checked = await asyncio.to_thread(_check, self._checker, text, parsed, task)
        if self._config.checks.round_trip.enabled and checked.kept:
            checked = await self._ask_again(text, checked, task, tally)
        return checked

    async def _ask_again(self, text: str, checked: Checked, task: Task, tally: Tally) -> Checked:
        """Drop the pairs whose question the engine answers differently the second time."""
        verdicts = await asyncio.gather(
            *(self._second_verdict(text, pair, tally) for pair in checked.kept)
        )
        verdicts = broken_off(verdicts) if task.expectations().is_linked else verdicts
        again = sort_pairs(checked.kept, verdicts)
        return Checked(again.kept, checked.dropped + again.dropped)

    async def _second_verdict(self, text: str, pair: Pair, tally: Tally) -> str:
        prompt = self._protocol.encode_question(text, pair)
        if len(prompt) > self._prompt_budget:
            tally.add("round_trips_too_long")
            return ""
        answer = self._protocol.parse_answer(await self._generate(prompt, tally))
        return answers_agree(pair, answer, self._config.checks.round_trip.min_f1)

    async def _generate(
        self, prompt: Prompt, tally: Tally, schema: dict[str, object] | None = None
    ) -> str:
        reply = await self._engine.generate(prompt, schema)
        tally.add("requests")
        tally.add("prompt_tokens", len(prompt))
        tally.add("cached_tokens", reply.num_cached_tokens)
        tally.add("output_tokens", reply.num_tokens)
        return reply.text


class RuleWriter:
    """Tasks mined from the text itself; see `synth.rules`."""

    def __init__(self, config: SynthConfig) -> None:
        """Take what is to be mined and what pairs have to stand."""
        self._rules = config.rules
        self._checker = PairChecker(config.checks)

    async def write(self, history: Sequence[Turn], document: Document, tally: Tally) -> Written:
        """Mine one text."""
        del history
        mined = await asyncio.to_thread(mine_tasks, document.text, document.id, self._rules)
        for task, _ in mined:
            tally.add(f"mined.{task}")
        parsed = ParsedPairs([pair for _, pair in mined])
        checked = _check(self._checker, document.text, parsed, Task())
        provenance = {"style": "rules"} if checked.kept else {}
        dropped = tuple((*verdict, "rules") for verdict in checked.dropped)
        return Written(Task(), tuple(checked.kept), dropped, provenance)


def _check(checker: PairChecker, text: str, parsed: ParsedPairs, task: Task) -> Checked:
    return checker.check(text, parsed.pairs, task.expectations())

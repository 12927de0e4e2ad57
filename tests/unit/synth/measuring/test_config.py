"""Settings that would measure something else than they say are refused."""

import pytest
from pydantic import ValidationError

from synth.measuring.config import TuneEvalConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shots": [0, 2, 2]}, "must be different numbers from 0 on"),
        ({"shots": [-1]}, "must be different numbers from 0 on"),
        ({"shots": []}, "at least 1 item"),
        ({"max_model_len": 799}, "must be at most half of max_model_len"),
        ({"engine": {"kind": "openai"}}, "hides which weights a server has"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TuneEvalConfig.model_validate(settings)


def test_a_synthesizer_is_asked_as_synthesis_would_ask_it() -> None:
    config = TuneEvalConfig(max_new_tokens=64, max_model_len=512, temperature=0.5)
    asked = config.synth_config("org/name")
    assert (asked.model, asked.protocol, asked.attempts) == ("org/name", "tuned", 1)
    assert (asked.max_new_tokens, asked.max_model_len, asked.temperature) == (64, 512, 0.5)
    faster = config.model_copy(update={"max_examples": 9, "shots": (1,)})
    assert faster.content_fields() == config.content_fields()
    assert TuneEvalConfig().content_fields() != config.content_fields()

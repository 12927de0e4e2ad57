"""What is shown and stored holds no secret and no command for a terminal."""

import pytest
from pydantic import Field

from pipeline.config import StrictConfig, validate
from pipeline.errors import InputError
from pipeline.redaction import printable, redacted

SECRETS = (
    ("https://me:hunter22@host/a", "https://***@host/a"),
    ("https://ghp_0123456789@host/a.git", "https://***@host/a.git"),
    ("s3://AKIA0123:abc@bucket/key", "s3://***@bucket/key"),
    ("https://host/a?X-Amz-Signature=abc&b=1", "https://host/a?X-Amz-Signature=***&b=1"),
    ("https://host/a?b=1&sig=ab%2Fc", "https://host/a?b=1&sig=***"),
    ("https://host/a?access_token=abc#x", "https://host/a?access_token=***#x"),
    ("https://host/a?api_key=abc", "https://host/a?api_key=***"),
)
HARMLESS = (
    "s3://bucket/run@2",
    "abfs://container@account.dfs.core.windows.net/a",
    "https://host:8000/v1",
    "hf://datasets/org/name@main/a.parquet",
    "{question} {response}",
    "what?key",
    "me@host: x",
)


class Section(StrictConfig):
    """A section of a config."""

    inputs: tuple[str, ...] = ()
    by_name: dict[str, str] = Field(default_factory=dict)


@pytest.mark.parametrize(("text", "shown"), SECRETS)
def test_a_config_holds_no_credentials(text: str, shown: str) -> None:
    assert redacted(f"cannot read {text} now") == f"cannot read {shown} now"
    for values in ({"inputs": ["a", text]}, {"by_name": {"x": text}}, {"by_name": {text: "x"}}):
        with pytest.raises(InputError, match="by the environment") as caught:
            validate(Section, values, "my.toml")
        assert shown in str(caught.value)
        assert text not in str(caught.value)


@pytest.mark.parametrize("text", HARMLESS)
def test_other_uris_are_left_alone(text: str) -> None:
    assert redacted(text) == text
    assert validate(Section, {"inputs": [text]}, "my.toml").inputs == (text,)


def test_values_of_secret_variables_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_API_KEY", "WANDB_API_KEY"):
        monkeypatch.setenv(name, f"value-of-{name}")
        assert redacted(f"key 'value-of-{name}' is wrong") == "key '***' is wrong"
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "something-long")
    monkeypatch.setenv("SHORT_TOKEN", "true")
    assert redacted("something-long is true") == "something-long is true"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("over\rwritten", "over\\rwritten"),
        ("a\x08b\x7f", "a\\x08b\\x7f"),
        ("\u202etxt.exe\u2066", "\\u202etxt.exe\\u2066"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("héllo, 世界", "héllo, 世界"),
    ],
)
def test_a_terminal_is_told_nothing(text: str, shown: str) -> None:
    assert printable(text) == shown

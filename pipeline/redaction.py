r"""What must not reach a log, a terminal or a file: secrets, and control characters of texts.

    https://me:pass@host/a?token=abc     a config that holds it is refused; else shown as ***
    the value of $OPENAI_API_KEY         comes back in a server's error: shown as ***
    ESC ] 0 ; ... BEL                    a text that talks to the terminal: shown as \x1b]0;...

Secrets belong into the environment. Configs name variables there, never values, and are copied into
manifests, trackers and reports as they are.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.errors import InputError

_MASK = "***"
# Azure's abfs://container@account is no login, so other schemes need a password to be one.
_LOGIN = re.compile(
    r"(\bhttps?://)[^/\s@'\"]+(?=@)|(\b[a-z][a-z0-9+.-]*://)[^/\s@:'\"]*:[^/\s@'\"]+(?=@)", re.I
)
_SIGNATURE = re.compile(
    r"([?&](?:[\w-]*(?:token|secret|password|passwd|signature|credential)|sig|key|[\w-]*api[_-]?key"
    r"|[\w-]*accesskey(?:id)?|access_key)=)[^&\s#'\"]+",
    re.I,
)
_SECRET_VARIABLE = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|KEY|APIKEY)(?:$|_)", re.I
)
# Shorter values would be found in words that are none of theirs.
_SHORTEST_SECRET = 8
# Line ends and tabs stay. The last ones turn the direction of writing around.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def redacted(text: str) -> str:
    """A text for a log or file, without logins and signatures in URIs and secrets of this process.

    Secrets are the values of environment variables whose names say so (`..._TOKEN`, `..._KEY`).
    """
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST_SECRET and _SECRET_VARIABLE.search(name):
            text = text.replace(value, _MASK)
    text = _LOGIN.sub(lambda found: f"{found[1] or found[2]}{_MASK}", text)
    return _SIGNATURE.sub(rf"\1{_MASK}", text)


def printable(text: str) -> str:
    """A text for a terminal: `redacted`, and with control characters spelled out."""
    return _CONTROL.sub(lambda found: _spelled(found[0]), redacted(text))


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def refuse_credentials(values: Mapping[str, Any]) -> None:
    """Refuse a login or a signature in a URI.

    Args:
        values: a config, nested, or a URI by what it is called.

    Raises:
        InputError: names the keys; the values are masked.
    """
    found = [
        f"{key} = {redacted(text)!r}"
        for key, text in _strings(values)
        if _LOGIN.search(text) or _SIGNATURE.search(text)
    ]
    if found:
        raise InputError(
            "\n  ".join(found) + "\na URI may hold no login and no signature, as it is copied into "
            "manifests, logs and reports; give them by the environment (AWS_ACCESS_KEY_ID and the "
            "like, ~/.netrc, FSSPEC_..., HF_TOKEN)"
        )


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every string of a nested value with its dotted key; the keys of mappings, too."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield key, str(name)
            yield from _strings(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _strings(inner, f"{key}.{number}")

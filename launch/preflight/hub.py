"""The model hub: does it answer, and does it give us a model?"""

import socket
from pathlib import Path
from urllib.parse import urlsplit

_TIMEOUT_S = 3.0


def hub_problem() -> str:
    """Why the hub is out of reach; empty if it answers."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    parts = urlsplit(constants.ENDPOINT)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=_TIMEOUT_S):
            return ""
    except OSError as error:
        return f"{parts.hostname} does not answer ({error.strerror or error})"


def cached_folder(name: str, revision: str) -> Path | None:
    """Where files of a hub model are in the cache of this machine; None if there are none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision or None, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def refusal_of(name: str, revision: str) -> str:
    """Why the hub, which answers, does not give us a model; empty if it does."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    api = HfApi()
    try:
        api.model_info(name, revision=revision or None, timeout=_TIMEOUT_S)
        api.auth_check(name)
    except GatedRepoError:
        return "its owners must grant access, and this token has none"
    except RepositoryNotFoundError:
        return "there is no such model, or this token may not see it"
    except RevisionNotFoundError:
        return f"it has no revision {revision!r}"
    except HFValidationError:
        return "a hub name has the form org/name"
    except (HfHubHTTPError, OSError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return f"the hub's answer cannot be used ({lines[0]})"
    return ""

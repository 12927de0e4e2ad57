"""What `ipt k8s render` is asked for, beside the config."""

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pipeline.errors import InputError

OVERLAYS, STORAGES, TRAININGS = (
    ("dev", "gpu", "spot"),
    ("volume", "secret", "identity"),
    ("jobset", "kubeflow", "none"),
)
NAMESPACE = "instruct-pretrain"
MOUNT = "/mnt/runs"
"""Where pods see the shared volume."""
METRICS_PORT = 9464
"""Where training shows its metrics; a port of the pods in the manifests."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_IMAGE = re.compile(
    r"(?P<name>[^\s@]+?)(:(?P<tag>[\w][\w.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)


def default_image(overlay: str) -> str:
    """The image that the Dockerfile's first lines say how to build, by overlay."""
    version = metadata.version("instruct-pretrain")
    return f"instruct-pretrain:{version}-{'cpu' if overlay == 'dev' else 'gpu'}"


@dataclass(frozen=True)
class Image:
    """A container image: repository, and tag or digest."""

    name: str
    tag: str
    digest: str

    def __str__(self) -> str:
        """As it stands in a manifest."""
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"

    def as_kustomize(self) -> dict[str, str]:
        """The entry of `images` that puts it in place of `instruct-pretrain`."""
        version = {"digest": self.digest} if self.digest else {"newTag": self.tag}
        return {"name": "instruct-pretrain", "newName": self.name, **version}


@dataclass(frozen=True)
class Request:
    """The options of `ipt k8s render`."""

    output: Path
    overlay: str = "gpu"
    image: str = ""
    """Empty: `default_image`."""
    namespace: str = NAMESPACE
    num_nodes: int = 1
    """Pods of a training, one a node."""
    storage: str = "volume"
    identity: tuple[str, ...] = ()
    """Annotations `KEY=VALUE` of the service accounts."""
    training: str = "jobset"
    queue: str = ""
    """LocalQueue of Kueue; empty: none."""

    @property
    def scales(self) -> bool:
        """Whether the number of synthesis workers follows the work, as Ray's autoscaler has it."""
        return self.overlay != "dev" and not self.queue

    def check(self) -> None:
        """Refuse options that stand for nothing, or do not go together.

        Raises:
            InputError: names the option.
        """
        for option, value, choices in (
            ("--overlay", self.overlay, OVERLAYS),
            ("--storage", self.storage, STORAGES),
            ("--training", self.training, TRAININGS),
        ):
            if value not in choices:
                raise InputError(f"{option} {value!r}: no such one; choose {', '.join(choices)}")
        for option, value in (("--namespace", self.namespace), ("--queue", self.queue)):
            if value and not _NAME.fullmatch(value):
                raise InputError(
                    f"{option} {value!r} is no name of Kubernetes: small letters, digits and "
                    f"inner hyphens, at most 63"
                )
        if not self.namespace:
            raise InputError("--namespace is empty; leave it out, or name the one to use")
        if self.num_nodes < 1:
            raise InputError(f"--nodes ({self.num_nodes}) must be at least 1")
        if self.overlay == "dev" and self.num_nodes > 1:
            raise InputError(
                f"--nodes ({self.num_nodes}) must be 1 with --overlay dev, which is for one node; "
                f"use gpu or spot"
            )
        if self.identity and self.storage != "identity":
            raise InputError(f"--identity needs --storage identity, not {self.storage}")
        self.annotations()
        self.parsed_image()

    def annotations(self) -> dict[str, str]:
        """Annotations of the service accounts.

        Raises:
            InputError: one is not of the form `KEY=VALUE`.
        """
        pairs = [entry.partition("=") for entry in self.identity]
        for key, equals, value in pairs:
            if not (key and equals and value):
                raise InputError(
                    f"--identity {key + equals + value!r} must have the form KEY=VALUE, such as "
                    f"eks.amazonaws.com/role-arn=arn:aws:iam::111122223333:role/runs"
                )
        return {key: value for key, _, value in pairs}

    def parsed_image(self) -> Image:
        """The image, in its pieces.

        Raises:
            InputError: it has neither tag nor digest, or a tag that moves.
        """
        image = self.image or default_image(self.overlay)
        found = _IMAGE.fullmatch(image)
        if found is None or not (found["tag"] or found["digest"]) or found["tag"] == "latest":
            raise InputError(
                f"--image {image!r} must have a tag that does not move, or a digest: a pod that is "
                f"started again has to run the same code; for example "
                f"registry.example/{default_image(self.overlay)}"
            )
        return Image(found["name"], found["tag"] or "", found["digest"] or "")

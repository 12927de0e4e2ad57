"""Are all nodes alike: versions, our source, accelerators, and do they share the run's folder?

this host ──┬─ Ray: a task on each node (RAY_ADDRESS, or a job on --address) ──▶ facts of each node
            └─ ssh HOST python -m launch.preflight.versions (--hostfile)           │
                                                            what differs, by name ◀┘
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from launch.preflight.asking import NODE_LIMIT_S, Node, ask_by_job, ask_over_ray, ask_over_ssh
from launch.preflight.findings import Check, Finding, counted, ok, problem, warning
from launch.preflight.subject import Subject
from launch.preflight.versions import ABSENT, node_facts

_LIMIT_S = 3 * NODE_LIMIT_S
_SHOWN_NODES = 8
_MAX_CONNECTIONS = 16
_DRIVER = "CUDA driver"
_OURS = ("instruct-pretrain", "our source")


def node_checks(subject: Subject, probe: str, *, is_job_server_up: bool = True) -> Iterator[Check]:
    """The checks of this host's accelerators and of all nodes beside it.

    Args:
        subject: the run.
        probe: path of a file in the run's folder; empty where that is no file system.
        is_job_server_up: whether the one that the command line names answers.
    """
    where = subject.where
    yield Check("GPUs", lambda: gpu_findings([_here()], subject))
    if where.hosts:

        def over_ssh() -> list[Node]:
            with ThreadPoolExecutor(max_workers=_MAX_CONNECTIONS) as pool:
                return list(pool.map(partial(ask_over_ssh, probe=probe), where.hosts))

        look = partial(_look, subject, over_ssh, probe, is_training=True)
        yield Check("nodes", look, _LIMIT_S)
    if where.address and is_job_server_up:
        ask = partial(ask_by_job, where.address, probe)
        yield Check("cluster", partial(_look, subject, ask, probe), _LIMIT_S)
    elif not where.address and os.environ.get("RAY_ADDRESS"):
        yield Check("cluster", partial(_over_ray, subject, probe), _LIMIT_S)
    elif not (where.hosts or where.address):
        yield Check("nodes", lambda: [_alone(where.num_nodes)])


def _here() -> Node:
    return Node.of(node_facts(), "this host")


def _alone(num_nodes: int) -> Finding:
    if num_nodes == 1:
        return ok("nodes", "this host alone, so no versions can differ")
    return warning(
        "nodes",
        f"--num_nodes is {num_nodes}, and nothing says which: their versions are not compared",
        "give --hostfile, --address or RAY_ADDRESS; or compare what each prints on "
        "`python -m launch.preflight.versions`",
    )


def _look(
    subject: Subject, ask: Callable[[], list[Node]], probe: str, *, is_training: bool = False
) -> Iterator[Finding]:
    nodes = ask()
    yield from compare(nodes, _here())
    if probe:
        yield from shared_findings(nodes, subject.config.folder.root)
    if is_training:
        yield from gpu_findings([node for node in nodes if not node.failure], subject)


def _over_ray(subject: Subject, probe: str) -> Iterator[Finding]:
    from pipeline.cluster import ray_session
    from synth.pool import plan_pool

    with ray_session():
        yield from _look(subject, partial(ask_over_ray, probe), probe)
        if subject.synth is not None:
            pool = plan_pool(subject.synth, documents_per_part=1.0)
            takes = f"{pool.gpus:g} GPUs" if pool.gpus else "no GPU"
            found = f"room for {counted(pool.max_workers, 'worker')} of synthesis, {takes} each"
            yield ok("cluster", found)


def compare(nodes: Sequence[Node], here: Node) -> Iterator[Finding]:
    """Name each version that differs, and the nodes it differs on.

    Args:
        nodes: all that were asked.
        here: this host, which the others are held against.
    """
    for node in nodes:
        if node.failure:
            remedy = "see that commands of this user run there, and install this package as here"
            yield problem("nodes", f"{node.name}: {node.failure}", remedy)
    heard = [node for node in nodes if not node.failure]
    is_alike = True
    for name, ours in here.versions.items():
        theirs = {node.name: node.versions.get(name, ABSENT) for node in heard}
        odd = {node: version for node, version in theirs.items() if version != ours}
        if odd:
            is_alike = False
            yield _skew(name, ours, odd)
    if heard and is_alike:
        yield ok(
            "nodes",
            f"{counted(len(heard), 'node')} with the same {', '.join(here.versions)} as this host",
        )


def _skew(name: str, ours: str, odd: Mapping[str, str]) -> Finding:
    places = [
        f"{version} on {_listed([node for node, each in odd.items() if each == version])}"
        for version in dict.fromkeys(odd.values())
    ]
    found = f"{name} is {ours} on this host and {'; '.join(places)}"
    if name == _DRIVER:  # a login node may well have none, and another one may well do
        remedy = "look whether each driver is new enough for the CUDA that torch was built with"
        return warning("nodes", found, remedy)
    what = "source of this project" if name in _OURS else name
    return problem("nodes", found, f"install the same {what} on all nodes, or use one image")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN_NODES} more" if len(names) > _SHOWN_NODES else ""
    return ", ".join(names[:_SHOWN_NODES]) + more


def shared_findings(nodes: Sequence[Node], root: str) -> Iterator[Finding]:
    """Whether all nodes see what this host writes into the run's folder.

    Args:
        nodes: all that were asked.
        root: the run's folder.
    """
    heard = [node for node in nodes if not node.failure]
    blind = [node.name for node in heard if not node.sees_probe]
    if blind:
        yield problem(
            "nodes",
            f"what this host writes to run.dir ({root}) is not seen on {_listed(blind)}",
            "set run.dir to a file system that all nodes have at the same place, or, up to "
            "packing, to a URI such as s3://bucket/run",
        )
    elif heard:
        yield ok("nodes", f"all see what this host writes to run.dir ({root})")


def gpu_findings(nodes: Sequence[Node], subject: Subject) -> Iterator[Finding]:
    """Accelerators of each node, held against the ranks that training starts on it.

    Args:
        nodes: those that training is to run on.
        subject: the run.
    """
    if "train" in subject.pending:
        for node in nodes:
            yield _gpus_of(node, subject)


def _gpus_of(node: Node, subject: Subject) -> Finding:
    train = subject.config.train
    counts = Counter(gpu for gpu, _ in node.gpus)
    kinds = ", ".join(f"{count} x {gpu}" for gpu, count in counts.items())
    num_gpus = len(node.gpus)
    slots = subject.where.hosts.get(node.name)
    num_ranks, setting = slots or train.num_ranks, "its slots" if slots else "train.num_ranks"
    if not num_gpus:
        found = f"{node.name} has none, and {setting} ({num_ranks}) would compute on CPUs"
        if train.precision == "fp32":
            return ok("GPUs", found)
        remedy = "train where there are GPUs; for a trial on CPUs set train.precision=fp32"
        return warning("GPUs", found, remedy)
    if num_gpus < num_ranks:
        found = f"{node.name} has {kinds}, fewer than {setting} ({num_ranks})"
        return problem("GPUs", found, f"make that {num_gpus}, or use other nodes")
    if num_gpus > num_ranks:
        found = f"{node.name} has {kinds}, more than {setting} ({num_ranks})"
        return warning("GPUs", found, f"make that {num_gpus}, or some stay idle")
    return ok("GPUs", f"{node.name} has {kinds}, one for each rank")

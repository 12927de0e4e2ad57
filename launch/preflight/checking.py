"""All checks of a run, in the order in which its stages would meet what they look at."""

import contextlib
from collections.abc import Iterator

from launch.preflight.batch import batch_checks
from launch.preflight.engine import engine_checks
from launch.preflight.findings import Finding, ok, run_checks, warning
from launch.preflight.fit import memory_checks
from launch.preflight.hub import hub_problem
from launch.preflight.inputs import input_checks
from launch.preflight.models import model_checks
from launch.preflight.network import JOB_SERVER, network_checks
from launch.preflight.nodes import node_checks
from launch.preflight.space import space_checks
from launch.preflight.storing import probe_folder, storage_checks
from launch.preflight.subject import Subject
from launch.stages import outdated_inputs
from pipeline import storage


def look_at(subject: Subject) -> Iterator[Finding]:
    """Everything that is found, each as soon as it is known; nothing is left behind."""
    if subject.complete:
        names = ", ".join(subject.complete)
        yield ok("stages", f"complete, and so not looked at: {names}")
        for manifest in subject.complete.values():
            for line in outdated_inputs(manifest, subject.complete):
                yield warning("stages", line, "`ipt run` does that stage and those after it again")
    if not subject.pending:
        return
    hub = hub_problem()
    checks = [
        *storage_checks(subject),
        *input_checks(subject, hub),
        *model_checks(subject, hub),
        *engine_checks(subject, hub),
        *memory_checks(subject, hub),
        *batch_checks(subject),
        *space_checks(subject, hub),
        *network_checks(subject),
    ]
    is_up = True
    for finding in run_checks(checks):
        is_up = is_up and (finding.check, finding.state) != (JOB_SERVER, "problem")
        yield finding
    with _probe(subject) as probe:
        yield from run_checks(list(node_checks(subject, probe, is_job_server_up=is_up)))


@contextlib.contextmanager
def _probe(subject: Subject) -> Iterator[str]:
    """A file in the run's folder that other nodes are asked for; empty where there can be none."""
    root = subject.config.folder.root
    if not storage.is_local(root):
        yield ""
        return
    with contextlib.ExitStack() as stack:
        try:
            path = storage.join(stack.enter_context(probe_folder(root)), "seen-by-all")
            storage.write_atomic(path, b"")
        except OSError:  # which the check of the storage has said already
            path = ""
        yield path

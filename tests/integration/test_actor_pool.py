"""The actor pool on a real Ray, with workers that fail to begin, die and end."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.cluster import ray_session
from synth import actors
from synth.actors import ActorPool
from synth.pool import Pool, Room
from tests.processes import wait_for

pytestmark = pytest.mark.ray

POOL = Pool(min_workers=1, max_workers=2, parts_in_flight=3, gpus=0.0, ray_options={"num_cpus": 1})


class Notes:
    """What the pool tells the board, and how often workers begin."""

    def __init__(self) -> None:
        self.begun, self.buried, self.troubles = list[str](), list[str](), list[str]()

    def count(self, worker: str) -> int:
        self.begun.append(worker)
        return len(self.begun)

    def bury(self, worker: str) -> None:
        self.buried.append(worker)

    def complain(self, trouble: str) -> None:
        self.troubles.append(trouble)

    def read(self) -> tuple[list[str], list[str], list[str]]:
        return self.begun, self.buried, self.troubles


class Worker:
    """Begins, and writes a part in each lane."""

    def __init__(self, order: SimpleNamespace) -> None:
        self._notes = order.board

    async def begin(self) -> None:
        await self.count()

    async def count(self) -> int:
        import ray

        return await self._notes.count.remote(ray.get_runtime_context().get_actor_id())

    async def run(self, num_lanes: int) -> int:
        return num_lanes


class NeverBegins(Worker):
    async def begin(self) -> None:
        await super().begin()
        raise RuntimeError("no driver for this accelerator")


class FirstFails(Worker):
    async def begin(self) -> None:
        if await self.count() == 1:
            raise RuntimeError("out of luck")


class FirstDiesEarly(Worker):
    async def begin(self) -> None:
        if await self.count() == 1:
            os._exit(1)


class FirstDies(Worker):
    async def begin(self) -> None:
        self._number = await self.count()

    async def run(self, num_lanes: int) -> int:
        if self._number == 1:
            os._exit(1)
        return num_lanes


class FailsAtWork(Worker):
    async def run(self, num_lanes: int) -> int:
        raise OSError("no space left on device")


class Works(FirstDies):
    async def run(self, num_lanes: int) -> int:
        await asyncio.sleep(4)
        return num_lanes


class FirstFindsNothingLeft(Works):
    async def run(self, num_lanes: int) -> int:
        return num_lanes if self._number == 1 else await super().run(num_lanes)


@pytest.fixture(scope="module", autouse=True)
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with ray_session(str(tmp_path_factory.mktemp("logs"))):
        yield


@pytest.fixture
def notes() -> Any:
    import ray

    return ray.remote(Notes).options(num_cpus=0).remote()


def pool_of(
    worker: type, notes: Any, monkeypatch: pytest.MonkeyPatch, room: Room | None = None
) -> ActorPool:
    monkeypatch.setattr(actors, "SynthWorker", worker)
    return ActorPool(replace(POOL, room=room), SimpleNamespace(board=notes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("worker", "num_begun", "num_buried", "num_troubles"),
    [(Worker, 2, 0, 0), (FirstFails, 3, 0, 0), (FirstDies, 3, 1, 0), (FirstDiesEarly, 3, 0, 1)],
)
def test_all_workers_come_to_an_end(
    worker: type,
    num_begun: int,
    num_buried: int,
    num_troubles: int,
    notes: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ray

    pool = pool_of(worker, notes, monkeypatch)
    assert wait_for(lambda: pool.wait(1.0))
    begun, buried, troubles = ray.get(notes.read.remote())
    assert len(begun) == num_begun
    assert buried == begun[:num_buried], "by the name that the worker gives the board"
    assert len(troubles) == num_troubles


@pytest.mark.parametrize(
    ("worker", "message"), [(NeverBegins, "no driver for"), (FailsAtWork, "no space left")]
)
def test_what_nobody_can_do_ends_the_job(
    worker: type, message: str, notes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    pool = pool_of(worker, notes, monkeypatch)
    with pytest.raises(ray.exceptions.RayError, match=message):
        wait_for(lambda: pool.wait(1.0))


@pytest.mark.parametrize(("worker", "num_begun"), [(Works, 4), (FirstFindsNothingLeft, 2)])
def test_nodes_that_join_get_workers_while_parts_are_left(
    worker: type, num_begun: int, notes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    num_fitting = 2
    monkeypatch.setattr(actors, "_LOOK_INTERVAL_S", 0.0)
    monkeypatch.setattr(Room, "num_workers", lambda _: num_fitting)
    pool = pool_of(worker, notes, monkeypatch, Room({"CPU": 1.0}, fills_node=False))

    def begun() -> int:
        return len(ray.get(notes.read.remote())[0])

    assert wait_for(lambda: not pool.wait(0.1) and begun() == 2)
    for _ in range(10):
        assert not pool.wait(0.1)
    num_fitting = 4
    assert wait_for(lambda: pool.wait(1.0))
    assert begun() == num_begun

"""How many chains at once."""

import asyncio

from synth.engines.protocol import EngineLimits
from synth.slots import ChainSlots, chains_at_once


def test_no_more_than_the_capacity_and_in_order() -> None:
    order: list[int] = []
    most = 0

    async def run() -> None:
        slots, under_way = ChainSlots(EngineLimits(max_requests=16)), 0

        async def chain(number: int) -> None:
            nonlocal under_way, most
            async with slots.taken():
                order.append(number)
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(0.001 * (number % 3))
                under_way -= 1

        await asyncio.gather(*(chain(number) for number in range(60)))

    asyncio.run(run())
    assert order == list(range(60))
    assert most == 18 == chains_at_once(16)


def test_a_small_kv_cache_allows_fewer() -> None:
    slots = ChainSlots(EngineLimits(max_requests=64, kv_cache_tokens=10_000))
    assert slots.capacity() == 72, "nothing is known of the requests yet"
    slots.note({"requests": 2, "prompt_tokens": 1500, "output_tokens": 500})
    assert slots.capacity() == 10 + 2
    slots.note({"requests": 1, "prompt_tokens": 10**6})
    assert slots.capacity() == 1 + 2


def test_a_waiting_chain_that_is_cancelled_gives_its_place_up() -> None:
    async def run() -> int:
        slots = ChainSlots(EngineLimits(max_requests=1))
        release = asyncio.Event()
        done = 0

        async def chain() -> None:
            nonlocal done
            async with slots.taken():
                await release.wait()
                done += 1

        tasks = [asyncio.create_task(chain()) for _ in range(5)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        release.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return done

    assert asyncio.run(run()) == 4

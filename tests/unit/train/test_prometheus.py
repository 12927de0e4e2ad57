"""The figures of the last step, as Prometheus reads them."""

import socket
import urllib.request

import pytest

from pipeline.errors import InputError
from tests.processes import free_port
from train.prometheus import PrometheusWriter

STEP = {
    "step": 3,
    "loss": 2.5,
    "perf/tokens_per_s": 100.0,
    "loss/web-raw": 2.25,
    "heldout/web-raw/loss": 2.75,
    "heldout/kind/multiple_choice/loss": 1.0,
    "anomaly": "a text",
}


def read(port: int) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    return sorted(line for line in lines if not line.startswith("#"))


def test_the_newest_figures_are_served_until_the_end() -> None:
    port = free_port()
    writer = PrometheusWriter("127.0.0.1", port, num_steps=8)
    writer.write(2, STEP | {"loss": 9.0})
    writer.write(3, STEP)
    assert read(port) == [
        'ipt_train_heldout_loss{source="web-raw"} 2.75',
        "ipt_train_loss 2.5",
        "ipt_train_num_steps 8.0",
        "ipt_train_perf_tokens_per_s 100.0",
        'ipt_train_source_loss{source="web-raw"} 2.25',
        "ipt_train_step 3.0",
    ]
    writer.close()
    with pytest.raises(OSError, match="refused"):
        read(port)


def test_a_port_that_is_taken_is_an_error_with_a_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"prometheus_port .{port}. on 127.0.0.1"):
            PrometheusWriter("127.0.0.1", port, num_steps=8)

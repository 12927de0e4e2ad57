"""The figures of the last step for Prometheus, served by rank 0 while training goes on.

ipt_train_step 200
ipt_train_loss 2.31
ipt_train_perf_tokens_per_s 51200
ipt_train_source_loss{source="web-raw"} 2.4
ipt_train_heldout_loss{source="web-raw"} 2.5
"""

import re
from collections.abc import Mapping
from typing import Any

from pipeline.errors import InputError

_LABELLED = (
    (re.compile(r"loss/(?P<source>.+)"), "source_loss"),
    (re.compile(r"heldout/(?!kind/)(?P<source>.+)/loss"), "heldout_loss"),
)
_IN_NAMES = re.compile(r"[^a-z0-9_]")
_SINGLE = re.compile(r"[a-z_]+|(perf|time)/[a-z_]+")


class PrometheusWriter:
    """Takes the metrics of steps, and serves the newest at `/metrics`."""

    def __init__(self, host: str, port: int, num_steps: int) -> None:
        """Start to serve.

        Args:
            host: address to listen on.
            port: on which.
            num_steps: of the whole run.

        Raises:
            InputError: the port is taken.
        """
        from prometheus_client import CollectorRegistry, start_http_server

        self._registry = CollectorRegistry()
        self._gauges: dict[str, Any] = {}
        try:
            self._server, _ = start_http_server(port, host, self._registry)
        except OSError as error:
            raise InputError(
                f"train.logging.prometheus_port ({port}) on {host} cannot be listened on "
                f"({error}); take another, or 0 for none"
            ) from error
        self._gauge("num_steps").set(num_steps)

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Show the numbers of one step."""
        self._gauge("step").set(step)
        for key, value in metrics.items():
            if not isinstance(value, int | float) or isinstance(value, bool):
                continue
            for pattern, name in _LABELLED:
                if match := pattern.fullmatch(key):
                    self._gauge(name, "source").labels(match["source"]).set(value)
                    break
            else:
                if _SINGLE.fullmatch(key):
                    self._gauge(_IN_NAMES.sub("_", key)).set(value)

    def close(self) -> None:
        """Serve no longer."""
        self._server.shutdown()
        self._server.server_close()

    def _gauge(self, name: str, *labels: str) -> Any:
        from prometheus_client import Gauge

        if name not in self._gauges:
            words = f"Training: {name} of the last step."
            self._gauges[name] = Gauge(f"ipt_train_{name}", words, labels, registry=self._registry)
        return self._gauges[name]

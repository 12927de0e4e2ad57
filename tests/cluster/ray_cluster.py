"""A Ray cluster whose nodes are hosts of a drill, with its job server and token authentication."""

import json
from pathlib import Path

from tests.cluster.hosts import Host
from tests.processes import wait_for

_PORT, _DASHBOARD_PORT = 6379, 8265
_STORE_BYTES = 100 * 2**20


class RayCluster:
    """Nodes are hosts: the first one is the head, which has no slot for a worker of synthesis."""

    def __init__(self, hosts: list[Host], folder: Path) -> None:
        """Take over the hosts; `start_node` starts Ray on one.

        Args:
            hosts: all of them.
            folder: for the token and logs.
        """
        self.hosts, self.head = hosts, hosts[0]
        self._folder = folder
        token = folder / "token"
        token.write_text("a-secret-of-this-drill-0123456789abcdef")
        self.address = f"http://{self.head.name}:{_DASHBOARD_PORT}"
        for host in hosts:
            host.environment |= {
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN_PATH": str(token),
                "RAY_API_SERVER_ADDRESS": self.address,
                "RAY_ADDRESS": f"{self.head.address}:{_PORT}",
                "RAY_USAGE_STATS_ENABLED": "0",
            }

    def start_node(self, host: Host, slots: int) -> None:
        """Start Ray on a host, with so many slots for workers."""
        is_head = host is self.head
        place = (
            ("--head", f"--port={_PORT}", "--include-dashboard=true", "--dashboard-host=0.0.0.0")
            if is_head
            else (f"--address={self.head.address}:{_PORT}",)
        )
        host.start(
            *("ray", "start", *place, "--block", f"--node-ip-address={host.address}"),
            *(f"--num-cpus={slots}", f"--object-store-memory={_STORE_BYTES}"),
            log=self._folder / f"ray-{host.name}.log",
            # A cluster's nodes are told of a head that is gone within seconds, not a minute.
            variables={"RAY_ADDRESS": "", "RAY_gcs_rpc_server_reconnect_timeout_s": "10"},
        )

    def start(self, slots: int = 1) -> None:
        """Start Ray on all hosts, and wait until they have found each other."""
        self.start_node(self.head, 0)
        assert wait_for(self.answers, 90), self.logs()
        for host in self.hosts[1:]:
            self.start_node(host, slots)
        assert wait_for(lambda: self.num_nodes() == len(self.hosts), 90), self.logs()

    def answers(self) -> bool:
        """Whether the job server does."""
        return self.head.run("ray", "job", "list", check=False).returncode == 0

    def num_nodes(self) -> int:
        """Nodes that the head holds alive."""
        script = (
            "import json, ray; ray.init(log_to_driver=False, logging_level='ERROR'); "
            "print(json.dumps([node['Alive'] for node in ray.nodes()]))"
        )
        done = self.head.run("python", "-c", script, check=False)
        return sum(json.loads(done.stdout.splitlines()[-1])) if done.returncode == 0 else 0

    def logs(self) -> str:
        """What `ray start` printed on each host."""
        return "\n".join(path.read_text() for path in sorted(self._folder.glob("ray-*.log")))

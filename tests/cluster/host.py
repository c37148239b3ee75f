"""A Ray cluster on this machine, of so many nodes of one CPU each, for as long as somebody holds its standard input.

Consumes the number of nodes and a folder for their files; says in one line of JSON where the cluster is and which
processes its nodes are, and ends all of them when standard input closes, so that a test that is killed leaves nothing
behind. Listens on loopback alone: on systems that Ray calls unfit for clusters it takes 127.0.0.1 for a node's address
and binds its servers to that, and Linux is made one of them here.
"""

from __future__ import annotations

import json
import os
import sys

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
STORE_BYTES = 100_000_000  # of objects, of each node


def main(count: int, folder: str) -> None:
    os.environ.update(LOOPBACK, RAY_TMPDIR=folder, XDG_CACHE_HOME=f"{folder}/cache")
    from ray.cluster_utils import Cluster

    how = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args=how | {"include_dashboard": False})
    nodes = [cluster.head_node, *(cluster.add_node(**how) for _ in range(count - 1))]
    raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
    print(json.dumps({"address": cluster.address, "raylets": raylets}), flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

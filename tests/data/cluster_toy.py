"""Builds a set with two real Ray nodes, kills one of them, and prints the result; run by test_data_cluster."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from holdfast.data.cluster import remote_models
from holdfast.data.engine import Roles, RunLimits
from holdfast.data.recipes import load_recipe
from holdfast.data.sets import SetProgress, SetRequest, teach
from holdfast.models.pool import RateLimits


def main(out: Path, tokenizer: Path, tokens: int) -> None:
    # Shorten Ray's health checks so that the test does not wait, but leave a busy node enough time to answer.
    quick = {"health_check_period_ms": 1000, "health_check_timeout_ms": 10_000, "health_check_failure_threshold": 3}
    head = {"num_cpus": 1, "_system_config": quick}
    cluster = Cluster(initialize_head=True, connect=True, head_node_args=head)
    doomed = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    found = remote_models("pocket/author")
    killed: list[int] = []

    def kill(standing: SetProgress) -> None:
        if standing.tokens > tokens / 10 and not killed:
            killed.append(standing.tokens)
            cluster.remove_node(doomed, allow_graceful=False)
            # The author answers at once, so wait until Ray has noticed, or the run ends before it uses the dead node.
            while sum(node["Alive"] for node in ray.nodes()) > 1:
                time.sleep(0.2)

    order = SetRequest(load_recipe("stories"), tokens, 0, tokenizer)
    card = teach(order, Roles(found), out, limits=RunLimits(RateLimits(at_once=16)), watch=kill)
    told = {
        "nodes": len({desk.node for desk in found}),
        "gone": sum(desk.gone for desk in found),
        "killed_at": killed,
        "dropped": dict(card.dropped),
    }
    print(json.dumps(told), flush=True)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))

"""One cluster and one bucket for all tests of engines: it takes seconds to start a machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from engines.cluster import ROOT
from storage.s3_server import S3Server


@pytest.fixture(scope="session")
def bucket() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture(scope="session")
def cluster(bucket: S3Server) -> Iterator[Any]:
    """Two machines of two cores, whose processes find the tasks of these tests, and a bucket that all of them see."""
    pytest.importorskip("ray", reason="needs gaecli[ray]")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in bucket.env.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        cluster.add_node(num_cpus=2)
        yield cluster
        cluster.shutdown()


@pytest.fixture(scope="session")
def connected(cluster: Any) -> Iterator[Any]:
    """As in a program that has connected itself: runs use that, and leave it as it is."""
    import ray

    ray.init(cluster.address, log_to_driver=False)
    yield ray
    ray.shutdown()

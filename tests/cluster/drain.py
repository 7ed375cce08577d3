"""What a cloud tells Ray a while before it takes a machine."""

import time


def drain(address: str, node_id: str, notice_seconds: float) -> None:
    """Tell the Ray at this address that a node is taken away after so many seconds."""
    import ray
    from ray.core.generated import autoscaler_pb2

    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    deadline_ms = int((time.time() + notice_seconds) * 1000)
    is_accepted, said = ray._raylet.GcsClient(address=address).drain_node(node_id, reason, "spot", deadline_ms)
    assert is_accepted, said

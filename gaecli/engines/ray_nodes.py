"""What the machines of a Ray cluster have, which is seen to before any task is sent there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gaecli.engines.worker_facts import WorkerFacts, check_alike, facts_here
from gaecli.errors import DeviceError, EngineError, GaeError, first_line

#: Of an answer that was lost with its worker.
_MOST_RETRIES = 5


def num_at_once(ray: Any, *, needs_gpu: bool) -> int:
    """How many tasks the cluster carries out at a time, each on a CPU, and on a GPU if it needs one."""
    there = ray.cluster_resources()
    count = max(int(there.get("CPU", 1)), 1)
    if not needs_gpu:
        return count
    num_gpus = int(there.get("GPU", 0))
    if num_gpus < 1:  # its tasks would wait for one without end
        raise DeviceError(
            "no machine of the Ray cluster has a GPU, which `--device cuda` needs for each task",
            hint="leave `--device` out, or start a machine with `ray start --num-gpus`; one that joins by itself "
            "when it is asked for has to be there first",
        )
    return min(count, num_gpus)


def check_nodes(ray: Any, make_worker: Callable[[Any], Any], recipe: Any, *, needs_gpu: bool) -> None:
    """Raise where a machine would not do the same as this one, or cannot do it at all.

    Args:
        ray: the library, connected.
        make_worker: what each machine is asked to do first: make what tasks find there.
        recipe: of that, as the cluster has it.
        needs_gpu: only machines that have some get tasks.
    """
    asked = ray.remote(num_cpus=0, num_gpus=1 if needs_gpu else 0, max_retries=_MOST_RETRIES)(_answer)
    resource = "GPU" if needs_gpu else "CPU"
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get(resource)]
    references = [asked.options(scheduling_strategy=_on(node)).remote(make_worker, recipe) for node in nodes]
    answers = []
    for node, reference in zip(nodes, references, strict=True):
        name = str(node.get("NodeManagerHostname") or node["NodeManagerAddress"])
        try:
            answers.append((name, *ray.get(reference)))
        except ray.exceptions.TaskUnschedulableError:
            continue  # it is gone since; whatever comes in its place is looked at by its first task
        except ray.exceptions.RayError as lost:
            raise EngineError(
                f"worker `{name}` of the Ray cluster could not run gaecli: {first_line(lost)}",
                hint="install numpy and pyarrow on every machine of the cluster, in the versions that are here",
            ) from lost
    check_alike(facts_here(), [(name, facts) for name, facts, _ in answers])
    for name, _, error in answers:
        if isinstance(error, GaeError):
            raise type(error)(f"worker `{name}` of the Ray cluster: {error.message}", hint=error.hint)
        if error is not None:
            raise error


def _on(node: Any) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)


def _answer(make_worker: Callable[[Any], Any], recipe: Any) -> tuple[WorkerFacts, Exception | None]:
    """On a machine of the cluster. Its versions come first: with others nothing else that fails tells anything."""
    try:
        make_worker(recipe)
    except Exception as error:
        return facts_here(), error.with_traceback(None)
    return facts_here(), None

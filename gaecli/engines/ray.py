"""The engine of a Ray cluster: descriptors go to its workers, summaries come back, and rows never travel through Ray.

Which cluster: the one that this process is connected to already; else `--ray-address`, else `RAY_ADDRESS`; else a Ray
of this machine alone, which begins with the run and ends with it. A cluster of somebody else's is never stopped, and
an interrupt ends the tasks of this run and no others.

A task that is lost with its worker or its machine is carried out again elsewhere, and so is one that met an error of
the operating system which may pass. Workers get the code of this process; Python, PyArrow and NumPy have to be there,
in the same versions, which is seen to before any task is sent.
"""

from __future__ import annotations

import atexit
import errno
import os
import pickle
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from gaecli.engines.base import EngineOptions, Task
from gaecli.engines.ray_connection import RayConnection
from gaecli.engines.ray_nodes import check_nodes, num_at_once
from gaecli.engines.threads import Threads
from gaecli.engines.worker_facts import WorkerFacts, check_alike, facts_here
from gaecli.errors import EngineError, GaeError, first_line
from gaecli.storage.sent_paths import dumps, loads

W = TypeVar("W")
R = TypeVar("R")

#: Of a task whose worker or machine was lost, or that met an error which may pass.
_MOST_RETRIES = 5
#: Ray counts no retry after it ended a worker to save memory, or lost one with a machine that was taken away.
_MOST_TRIES = 10
#: How long the driver waits at a time before it sees whether the run is to end.
_LOOK_SECONDS = 0.2
#: How long tasks that are of no use any more may go on, and one that is cancelled may take to end by itself.
_PATIENCE_SECONDS = 1.0
_GRACE_SECONDS = 10.0
#: Arrays from this size on go to the cluster once, however many tasks have them.
_SHARED_BYTES = 64 << 10
_MOST_SHARED = 256
#: Errors of the operating system that come again.
_LASTING = (
    *(errno.EACCES, errno.EDQUOT, errno.EEXIST, errno.EFBIG, errno.EISDIR, errno.ENAMETOOLONG),
    *(errno.ENOENT, errno.ENOSPC, errno.ENOTDIR, errno.EPERM, errno.EROFS),
)

#: Recipe -> the worker that it made, in a process of the cluster.
_workers: dict[bytes, Any] = {}


class RayEngine(Generic[W]):
    """Tasks of this run on the workers of one cluster."""

    is_here = False

    def __init__(self, recipe: Callable[[], W], options: EngineOptions) -> None:
        self._check_stop = options.check_stop
        self._stage = options.stage
        self._connection = RayConnection(options)
        self._ray = self._connection.ray
        try:
            at_once = num_at_once(self._ray, needs_gpu=options.needs_gpu)
            self.jobs = options.jobs or at_once
            #: Its bytes, and not what they make, are the key: a worker is made once in a process, for a run.
            self._recipe = self._ray.put(pickle.dumps((os.urandom(8), recipe)))
            check_nodes(self._ray, _worker_of, self._recipe, needs_gpu=options.needs_gpu)
            #: How many tasks may be under way; of each `run` one may be at any rate.
            self._free = threading.Semaphore(self.jobs + 1)
            #: The last ones that were sent, the latest at the end.
            self._shared: dict[tuple[int, int], tuple[Any, pickle.PickleBuffer]] = {}
            self._lock = threading.Lock()
            self._carry_out = self._ray.remote(
                num_cpus=1,
                num_gpus=1 if options.needs_gpu else 0,
                max_retries=_MOST_RETRIES,
                retry_exceptions=[OSError],
            )(_carry_out)
        except BaseException:
            self.close()
            raise

    def run(self, tasks: Iterable[Task[W, R]]) -> Iterator[list[R]]:
        remaining = iter(tasks)
        window: deque[tuple[Any, bool]] = deque()
        has_more, failure = True, None
        try:
            while True:
                if has_more:
                    try:
                        has_more = self._send_some(remaining, window)
                    except Exception as error:  # raised below: a task before it may fail earlier
                        has_more, failure = False, error
                if not window:
                    break
                self._wait(window[0][0])
                reference, has_slot = window.popleft()
                self._release(has_slot)
                yield self._result(reference)
            if failure is not None:
                raise failure
        finally:
            failure = None  # or this frame would hold the error, and the error this frame
            if window:
                self._cancel([reference for reference, _ in window])
                for _, has_slot in window:
                    self._release(has_slot)

    def _send_some(self, remaining: Iterator[Task[W, R]], window: deque[tuple[Any, bool]]) -> bool:
        """As many as may be under way; whether there are more."""
        while len(window) <= self.jobs:
            has_slot = self._free.acquire(blocking=False)
            if window and not has_slot:
                return True
            is_sent = False
            try:
                task = next(remaining, None)
                if task is None:
                    return False
                window.append((self._send(task), has_slot))
                is_sent = True
            finally:
                if not is_sent:
                    self._release(has_slot)
        return True

    def close(self) -> None:
        self._shared = {}
        self._connection.close()

    def _release(self, has_slot: bool) -> None:
        if has_slot:
            self._free.release()

    def _send(self, task: Task[W, R]) -> Any:
        """A reference to what will come of it. Large arrays that several tasks have are sent once."""
        references: list[Any] = []

        def is_in_band(buffer: pickle.PickleBuffer) -> bool:
            if buffer.raw().nbytes < _SHARED_BYTES:
                return True
            references.append(self._stored(buffer))
            return False

        sent = dumps(task, self._stage, is_in_band)
        return self._carry_out.remote(sent, self._recipe, facts_here(), *references)

    def _stored(self, buffer: pickle.PickleBuffer) -> Any:
        import numpy as np

        raw = np.frombuffer(buffer.raw(), np.uint8)
        key = (raw.ctypes.data, raw.nbytes)
        with self._lock:
            # The buffer is kept with it: while it is, no other array comes to lie in its place.
            found = self._shared.pop(key, None) or (self._ray.put(raw), buffer)
            self._shared[key] = found
            while len(self._shared) > _MOST_SHARED:  # those of streams that are over are of no use any more
                del self._shared[next(iter(self._shared))]
            return found[0]

    def _wait(self, reference: Any) -> None:
        while not self._ray.wait([reference], timeout=_LOOK_SECONDS, fetch_local=False)[0]:
            self._check_stop()

    def _result(self, reference: Any) -> list[Any]:
        try:
            sent = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as task_error:
            raise _cause(task_error) from None
        except self._ray.exceptions.RayError as ray_error:
            raise _lost(ray_error) from ray_error
        found, error = loads(sent, self._stage)
        if error is not None:
            raise error
        results: list[Any] = found
        return results

    def _cancel(self, references: list[Any]) -> None:
        """None of them is under way when this returns.

        Most of them end by themselves soon, and are let: to cancel a task in the moment in which it ends makes Ray
        2.60 abort this process.
        """
        for seconds, is_forced in (
            (_PATIENCE_SECONDS, False),
            (_GRACE_SECONDS, True),
            (_GRACE_SECONDS, True),
        ):
            _, references = self._ray.wait(
                references, num_returns=len(references), timeout=seconds, fetch_local=False
            )
            if not references:
                return
            for reference in references:
                self._ray.cancel(reference, force=is_forced)


def make(threads: Threads, worker: W, recipe: Callable[[], W], options: EngineOptions) -> RayEngine[W]:
    return RayEngine(recipe, options)


def _carry_out(sent: bytes, recipe: bytes, facts: WorkerFacts, *buffers: Any) -> bytes:
    """A task in a process of the cluster: its results, or what went wrong with the data.

    What is raised instead is tried again if it is of the operating system, and else a bug.
    """
    check_alike(facts, [("", facts_here())])  # machines may come to a cluster later
    worker = _worker_of(recipe)
    stage = getattr(worker, "stage", None)
    end: tuple[list[Any] | None, Exception | None]
    try:
        _check_tries(num_tries_before())
        end = loads(sent, stage, buffers)(worker), None
    except GaeError as error:
        end = None, error.with_traceback(None)
    except OSError as error:
        if error.errno not in _LASTING:
            raise
        end = None, error.with_traceback(None)
    return dumps(end, stage)


def num_tries_before() -> int:
    """Of the task that this process carries out; 0 too where this Ray does not tell."""
    from ray._private.worker import global_worker

    asked = getattr(getattr(global_worker, "core_worker", None), "get_current_task_attempt_number", None)
    return 0 if asked is None else int(asked())


def _check_tries(count: int) -> None:
    """Before a task is tried without end."""
    if count >= _MOST_TRIES:
        raise EngineError(
            f"the Ray cluster gave up on a task: it was lost with its worker {count} times, mostly as memory ran out",
            hint="run the same command again with a smaller `--memory`, or fewer `--jobs`: what is done stays done",
        )


def _worker_of(recipe: bytes) -> Any:
    if recipe not in _workers:
        for worker in _workers.values():  # of an earlier run
            _close(worker)
        _workers.clear()
        worker = _workers[recipe] = pickle.loads(recipe)[1]()
        atexit.register(_close, worker)
    return _workers[recipe]


def _close(worker: Any) -> None:
    close = getattr(worker, "close", None)
    if close is not None:
        close()


def _cause(error: Any) -> BaseException:
    cause: BaseException | None = error.cause
    return error if cause is None else cause


def _lost(error: Exception) -> GaeError:
    """Of a task that was not carried out however often it was tried."""
    return EngineError(
        f"the Ray cluster gave up on a task: {first_line(error)}",
        hint="run the same command again: what is done stays done; if memory ran out, pass a smaller `--memory`, "
        "or fewer `--jobs`",
    )

"""Which of several processes does what of a step: things by number, in the order of the step."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Sequence

#: Of what is left for anyone a process is given its share in so many parts, so that at the end none works for long
#: while the others have nothing.
_PARTS_OF_SHARE = 4


class Shares:
    """A number stays with the process that had it in an earlier step; the others are for whoever asks first."""

    def __init__(self, num_processes: int) -> None:
        self._num_processes = num_processes
        self._owners: dict[int, Hashable] = {}
        #: (place in the step, number), for any process and by the process that had them.
        self._free: deque[tuple[int, int]] = deque()
        self._own: defaultdict[Hashable, deque[tuple[int, int]]] = defaultdict(deque)

    def begin(self, numbers: Sequence[int]) -> None:
        """A step, whatever is left of the one before."""
        self._free.clear()
        self._own.clear()
        for place, number in enumerate(numbers):
            owner = self._owners.get(number)
            queue = self._free if owner is None else self._own[owner]
            queue.append((place, number))

    def draw(self, process: Hashable, most: int, end: int) -> list[int]:
        """The next numbers for a process: at most so many, and none if the place of the first is not before `end`."""
        queues = [queue for queue in (self._own[process], self._free) if queue]
        queue = min(queues, key=lambda queue: queue[0], default=None)
        if queue is None or queue[0][0] >= end:
            return []
        if queue is self._free:
            most = min(most, max(1, len(queue) // (_PARTS_OF_SHARE * self._num_processes)))
        numbers = [queue.popleft()[1] for _ in range(min(most, len(queue)))]
        self._owners.update(dict.fromkeys(numbers, process))
        return numbers

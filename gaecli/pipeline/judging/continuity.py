"""Files that are computed apart although one goes on where the one before it ends.

Shards of a job have names of many kinds (`part-00000-….parquet`, `0000.parquet`, `chunk_1.npz`), and only some of
them say that they are one stream. Their ids and steps do: the last trajectory is open, and the next file
begins with the same id and the next step.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from gaecli.layouts.keys import as_labels
from gaecli.pipeline.judging.judge import StreamEvidence
from gaecli.records import dataclass
from gaecli.summary import WarningNote

#: Streams of more lanes are not compared: they are no shards of a log.
_MOST_LANES = 10_000


@dataclass(frozen=True)
class Edge:
    """The first or the last step of a lane, of a trajectory that may reach over it."""

    identity: Hashable
    step: int | None
    #: The lane has one trajectory, as far as its id tells: its first step has that of its last.
    is_only: bool = False

    @property
    def has_id(self) -> bool:
        return self.identity is not None and self.identity != ()


@dataclass(frozen=True)
class Edges:
    """Both ends of a stream, by the key of the lane; those at which no trajectory is open are left out."""

    first_path: str
    last_path: str
    heads: Mapping[Hashable, Edge]
    tails: Mapping[Hashable, Edge]
    stride: int

    @classmethod
    def of(cls, case: StreamEvidence) -> Edges | None:
        """None where trajectories are known to be whole, or there are too many lanes to compare."""
        num_lanes = sum(summary.lanes.count for summary in case.summaries)
        if case.layout.row_is != "step" or not 0 < num_lanes <= _MOST_LANES:
            return None
        heads: dict[Hashable, Edge | None] = {}
        tails: dict[Hashable, Edge | None] = {}
        first_ids: dict[Hashable, Hashable] = {}
        is_counted = case.roles.clock is None  # times say nothing of which step is the next one
        for summary in case.summaries:
            lanes = summary.lanes
            steps = (lanes.first_steps, lanes.last_steps) if is_counted else (None, None)
            is_open = lanes.open_ends & ~summary.borders.last_cut
            names = zip(
                as_labels(lanes.keys), as_labels(lanes.first_ids), as_labels(lanes.last_ids), strict=True
            )
            for lane, (key, first_id, last_id) in enumerate(names):
                first, last = (None if found is None else int(found[lane]) for found in steps)
                begins = bool(lanes.first_is_start[lane]) or lanes.first_padding[lane] >= 0
                heads.setdefault(key, None if begins else Edge(first_id, first))
                is_only = first_ids.setdefault(key, first_id) == last_id
                tails[key] = Edge(last_id, last, is_only) if is_open[lane] else None
        strides = [found for summary in case.summaries if (found := summary.facts.step_stride)]
        paths = [str(path) for path in case.paths]
        return cls(paths[0], paths[-1], _open(heads), _open(tails), min(strides, default=1))

    def goes_on_in(self, later: Edges) -> Edge | None:
        """The end of a trajectory that `later` begins with."""
        for key, tail in self.tails.items():
            head = later.heads.get(key)
            if head is None or head.identity != tail.identity:
                continue
            if tail.step is not None and head.step is not None:
                if head.step == tail.step + self.stride:
                    return tail
            elif tail.has_id and not tail.is_only:
                return tail  # ids that count on from file to file
        return None


def _open(edges: Mapping[Hashable, Edge | None]) -> dict[Hashable, Edge]:
    return {key: edge for key, edge in edges.items() if edge is not None}


class Continuity:
    """Compares each stream with the one before it."""

    def __init__(self) -> None:
        self._before: Edges | None = None
        self._found: list[tuple[Edges, Edges, Edge]] = []

    def add(self, edges: Edges | None) -> None:
        if edges is not None and self._before is not None:
            end = self._before.goes_on_in(edges)
            self._found += [] if end is None else [(self._before, edges, end)]
        self._before = edges

    def notes(self) -> list[WarningNote]:
        if not self._found:
            return []
        before, after, end = self._found[0]
        place = ", ".join(_described(end))
        many = f"; {len(self._found):,} such in all" if len(self._found) > 1 else ""
        return [
            WarningNote(
                "goes-on-in-next-file",
                f"`{before.last_path}` ends inside a trajectory ({place}) that goes on in `{after.first_path}`"
                f"{many}: they were taken apart, for nothing in their names says that they are one stream",
                before.last_path,
                len(self._found),
                hint="pass `--join` if the files follow one another, or `--no-join` if they do not",
            )
        ]


def _described(end: Edge) -> list[str]:
    identity: Any = end.identity
    if isinstance(identity, tuple) and len(identity) == 1:
        identity = identity[0]
    found = [f"id {identity}"] if end.has_id else []
    return found if end.step is None else [*found, f"step {end.step}"]

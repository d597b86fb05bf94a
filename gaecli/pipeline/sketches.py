"""What pictures are drawn from: a sample of the rows, the episodes in order, and one episode in full.

All of it is taken as blocks come by, and bounded whatever the size of the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

import numpy as np

from gaecli.array_types import Array, FloatArray
from gaecli.gallery import EpisodeStrip, Gallery
from gaecli.pipeline.column_statistics import Tally
from gaecli.pipeline.combine import Carry
from gaecli.pipeline.episodes import ENDS, EpisodeBook, Pieces, pieces_of
from gaecli.pipeline.settle import Settled
from gaecli.records import dataclass

#: Rows in a picture: more of them only lie on top of each other.
MOST_POINTS = 20_000
MOST_EPISODES = 20_000
#: Steps of the episode that is shown in full.
MOST_STEPS = 2_000
#: Episodes among which the one that is shown is chosen.
_CHOICE = 64


@dataclass(frozen=True, eq=False)
class Sketch:
    """What one block adds."""

    pieces: Pieces
    strip: EpisodeStrip | None


def sketch_of(file: int, start: int, settled: Settled, carry: Carry, with_strip: bool) -> Sketch:
    return Sketch(pieces_of(file, start, settled, carry), _strip(start, settled) if with_strip else None)


@dataclass(eq=False)
class SketchBook:
    """The sketches of one stream, added in the order of its blocks."""

    episodes: EpisodeBook = field(default_factory=EpisodeBook)
    strip: EpisodeStrip | None = None

    def add(self, sketch: Sketch) -> None:
        self.episodes.add(sketch.pieces)
        self.strip = self.strip or sketch.strip


def gallery_of(tallies: Mapping[str, Tally], books: Iterable[SketchBook]) -> Gallery:
    """`tallies`: of reward, value and what else there is, all over the same rows."""
    total, strip = Tally(), None
    for book in books:
        total = total.merge(book.episodes.total_rewards)
        strip = strip or book.strip
    sizes = {len(tally.sample) for tally in tallies.values()}
    thinning = -(-max(sizes, default=1) // MOST_POINTS) or 1
    count = max((tally.moments.count for tally in tallies.values()), default=0)
    return Gallery(
        samples={name: _plain(tally.sample[::thinning]) for name, tally in tallies.items()},
        num_rows=count,
        is_aligned=len(sizes) == 1,
        episode_rewards=_plain(total.sample[:: -(-len(total.sample) // MOST_EPISODES) or 1]),
        num_episodes=total.moments.count,
        strip=strip,
    )


def _plain(numbers: FloatArray) -> Sequence[float]:
    return tuple(float(number) for number in numbers[np.isfinite(numbers)])


def _strip(start: int, settled: Settled) -> EpisodeStrip | None:
    """The longest of the first episodes of the block; its beginning, if it is very long."""
    block = settled.block
    last = np.flatnonzero(block.cuts)[:_CHOICE]
    if not len(last):
        return None
    first = np.concatenate(([0], last[:-1] + 1))
    index = int(np.argmax(last - first))
    steps = slice(int(first[index]), min(int(last[index]) + 1, int(first[index]) + MOST_STEPS))
    end = 1 if block.terminated[last[index]] else 2 if block.truncated[last[index]] else 0
    return EpisodeStrip(
        row=start + block.placement.row_of_step(steps.start),
        length=int(last[index] - first[index]) + 1,
        end=ENDS[end],
        rewards=_shown(block.rewards[steps]),
        values=_shown(block.values[steps]),
        advantages=_shown(settled.advantages[steps]),
        returns=_shown(settled.returns[steps]),
    )


def _shown(numbers: Array) -> Sequence[float]:
    return tuple(float(number) for number in numbers)

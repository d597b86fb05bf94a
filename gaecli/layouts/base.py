"""What a layout does: it turns the columns of a file into a `Block` of steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gaecli.columns import Roles
from gaecli.formats.base import Column
from gaecli.layout_kinds import LayoutKind
from gaecli.layouts.frames import Frame
from gaecli.rollouts import Block


class Layout(Protocol):
    """One way in which rows hold steps. Instances belong to one file and keep no state between blocks."""

    #: The row of the table, which says what a row of the file is.
    kind: LayoutKind
    roles: Roles
    #: The roles by which people name episodes and steps, whether or not the layout goes by them.
    key_roles: Roles
    #: A trajectory may go on in the next block or file.
    crosses_blocks: bool
    #: Trajectories may be more than one step.
    has_steps: bool
    #: A block has to hold all rows of the file.
    needs_all_rows: bool
    #: Columns to read for every block.
    row_columns: tuple[str, ...]
    #: The column whose list type and shape the new columns take; None for one number per row.
    like_column: str | None

    @property
    def frame(self) -> Frame | None:
        """The axes of arrays, whose indices name a step where no column does; None where a row is no cell of one."""

    def cells(self, start: int, columns: Mapping[str, Column]) -> Mapping[str, Column]:
        """The columns of a block, with as many cells in each as there are rewards, and in their shape."""

    def block(self, start: int, columns: Mapping[str, Column]) -> Block:
        """The steps from row `start` on; of dense arrays, from that cell on.

        Raises `DataError` on cells that cannot be used.
        """

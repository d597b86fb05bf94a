"""The result of one file, on its way from a decision to a file in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

from gaecli.pipeline.apply import Totals
from gaecli.pipeline.label_tables import Constants
from gaecli.pipeline.opening import OpenFile
from gaecli.pipeline.stream import SummarisedStream
from gaecli.records import dataclass
from gaecli.storage.part_files import PartFiles
from gaecli.storage.pending import PendingFile
from gaecli.writing.encode_part import WrittenFrom
from gaecli.writing.targets import Target

if TYPE_CHECKING:
    from gaecli.formats.conversion import Conversion
    from gaecli.pipeline.labels import LabelConstants
    from gaecli.storage.uploads import SentObject


@dataclass(eq=False)
class Output:
    """The result of one file of a stream, from the decision to write it until it is in its place."""

    #: Number of the file within its stream.
    index: int
    opened: OpenFile
    target: Target
    #: Columns that give way to the new ones: gaecli's of an earlier run, and those of others.
    own: list[str]
    foreign: list[str]
    #: Columns that identify a row, for a sidecar.
    keys: Sequence[str] = ()
    #: Where the result has another format than its input.
    conversion: Conversion | None = None
    #: The store has the old bytes, and they need not come here.
    leaves_head: bool = False
    #: Its rows go on where those of the file before it end: in one sidecar.
    goes_on: bool = False
    #: None before the output is begun, in a dry run, and where it goes on.
    new_file: PendingFile | None = None
    #: Where workers elsewhere send it: what was begun for them.
    upload: SentObject | None = None
    #: Where its new columns are encoded by several tasks.
    parts: PartFiles | None = None
    constants: Constants = ()
    labels: LabelConstants | None = None

    #: What is stored in the new file, and beside it.
    provenance: Mapping[str, Any] = field(default_factory=dict)
    record: bytes | None = None
    #: How it was written.
    method: str | None = None
    totals: Totals = field(default_factory=Totals)

    @property
    def is_there(self) -> bool:
        """In its place, for everybody to see."""
        return self.new_file is not None and self.new_file.is_committed

    def written_from(self, stream: SummarisedStream) -> WrittenFrom:
        """What its new columns are made of."""
        first_unit, carries = stream.unfinished(self.index)
        return WrittenFrom(
            stream.opened.source(self.index),
            carries,
            self.constants,
            self.labels,
            first_unit=first_unit,
            before=None if stream.ahead is None else stream.ahead.totals,
        )


def by_new_file(outputs: Sequence[Output]) -> list[list[Output]]:
    """Those together whose rows go into one new file."""
    groups: list[list[Output]] = []
    for output in outputs:
        if output.goes_on:
            groups[-1].append(output)
        else:
            groups.append([output])
    return groups

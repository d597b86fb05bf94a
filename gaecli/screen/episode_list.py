"""The list of episodes: as many columns as fit, in any order, searched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable

from gaecli.report.text import CAUTION
from gaecli.report_page.content import ReportContent
from gaecli.screen.words import (
    CANVAS,
    MEASURES,
    Measure,
    codes,
    in_order,
    label_head,
    searched_text,
    short_label,
)

_BETWEEN, _SCROLLBAR = 2, 1
_LONGEST_LABEL = 24
_STRANGE = next(measure for measure in MEASURES if measure.name == "Strange")
#: Which go first where there is little room.
_IMPORTANT = ("Σ r", "Strange", "Steps", "max |A|", "End", "V error")


class EpisodeList(DataTable[Text]):
    """The strangest first; what is chosen stays chosen in another order."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
        Binding("s", "next_order", "Sort"),
        Binding("r", "reverse", "Reverse"),
        # Along the curves, wherever the keys go.
        Binding("left,h", "app.step(-1)", "Step", key_display="←→"),
        Binding("right,l", "app.step(1)", "Step", show=False),
        Binding("shift+left,H", "app.stride(-1)", "Tenth back", show=False),
        Binding("shift+right,L", "app.stride(1)", "Tenth on", show=False),
    ]

    class Chosen(Message):
        """Another episode, or none."""

        def __init__(self, index: int | None) -> None:
            super().__init__()
            self.index = index

    def __init__(self, content: ReportContent) -> None:
        super().__init__(cursor_type="row", zebra_stripes=False, cell_padding=1)
        self.content = content
        self.measures = [
            one
            for one in MEASURES
            if not content.episodes or any(one.of(episode) is not None for episode in content.episodes)
        ]
        #: None: as they lie in the input.
        self.measure: Measure | None = _STRANGE
        self.is_ascending = False
        self.words: Sequence[str] = ()
        self.indices: list[int] = []
        self.texts = [searched_text(content, index) for index in range(len(content.episodes))]
        self._room = 0

    def shown_measures(self, room: int) -> list[Measure]:
        """The one that is sorted by, and by their weight what else fits."""
        left = room - self._label_width() - _BETWEEN - _SCROLLBAR
        chosen: list[Measure] = []
        by_weight = sorted(
            self.measures, key=lambda one: (one is not self.measure, _IMPORTANT.index(one.name))
        )
        for measure in by_weight:
            if measure.width + _BETWEEN <= left:
                chosen.append(measure)
                left -= measure.width + _BETWEEN
        return [measure for measure in self.measures if measure in chosen]

    def _label_width(self) -> int:
        longest = max((cell_len(short_label(episode)) for episode in self.content.episodes), default=0)
        return min(max(longest, cell_len(label_head(self.content)) + 1), _LONGEST_LABEL, self._room // 2)

    def fill(self, room: int | None = None) -> None:
        """Anew, in this order and of these words."""
        if room is not None:
            self._room = room
        chosen = self.chosen
        measures = self.shown_measures(self._room)
        self.clear(columns=True)
        width = self._label_width()
        arrow = self._arrow(None)
        head = CANVAS.shorten(label_head(self.content), width - len(arrow))
        self.add_column(Text(f"{head}{arrow}"), width=width)
        for measure in measures:
            heading = f"{measure.name}{self._arrow(measure)}"
            self.add_column(Text(f"{heading:>{measure.width}}"), width=measure.width)
        found = [
            index
            for index in in_order(self.content.episodes, self.measure, ascending=self.is_ascending)
            if all(word in self.texts[index] for word in self.words)
        ]
        self.indices = found
        for index in found:
            episode = self.content.episodes[index]
            shown = CANVAS.shorten(short_label(episode), width)
            cells = [Text(shown, CAUTION if codes(self.content, index) else "")]
            cells += [Text(measure.text(episode), justify="right") for measure in measures]
            self.add_row(*cells)
        if found:
            self.move_cursor(row=found.index(chosen) if chosen in found else 0)
        else:
            self.post_message(self.Chosen(None))

    def _arrow(self, measure: Measure | None) -> str:
        return "" if measure is not self.measure else "▲" if self.is_ascending else "▼"

    @property
    def chosen(self) -> int | None:
        """Index of the episode under the cursor."""
        return self.indices[self.cursor_row] if self.cursor_row < len(self.indices) else None

    def search(self, text: str) -> None:
        self.words = text.lower().split()
        self.fill()

    def choose(self, index: int) -> None:
        """Whatever is searched for, this one is shown."""
        if index not in self.indices:
            self.words = ()
            self.fill()
        self.move_cursor(row=self.indices.index(index))

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        self.post_message(self.Chosen(self.chosen))

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        event.stop()
        shown = [None, *self.shown_measures(self._room)]
        self._sort(shown[event.column_index])

    def action_next_order(self) -> None:
        orders = [None, *self.measures]
        self._sort(orders[(orders.index(self.measure) + 1) % len(orders)])

    def action_reverse(self) -> None:
        self._sort(self.measure)

    def _sort(self, measure: Measure | None) -> None:
        if measure is self.measure:
            self.is_ascending = not self.is_ascending
        else:
            self.measure, self.is_ascending = measure, measure is None or measure.is_ascending
        self.fill()

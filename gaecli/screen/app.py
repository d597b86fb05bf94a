"""The screen itself: episodes on the left; curves, findings and distributions on the right."""

from __future__ import annotations

import os
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.events import Resize
from textual.widgets import Footer, Input, OptionList, Static, TabbedContent, TabPane
from textual.widgets.option_list import Option

from gaecli.report.text import QUIET
from gaecli.report_page.content import ReportContent
from gaecli.screen.curves import Curves
from gaecli.screen.episode_list import EpisodeList
from gaecli.screen.words import (
    distributions,
    explain_command,
    facts,
    finding_text,
    headline,
    notes,
    step_line,
)

#: Of the screen, for the list.
_SHARE, _LEAST, _MOST = 0.4, 36, 72
#: Below so many lines the curves come first.
_LOW = 30


class ShowApp(App[None]):
    """`gae show`."""

    TITLE = "gae show"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: auto; max-height: 2; padding: 0 1; background: $panel; }
    EpisodeList { height: 1fr; scrollbar-size-vertical: 1; }
    #right { width: 1fr; }
    #search { display: none; height: 1; border: none; padding: 0 1; }
    #search.open { display: block; }
    TabPane { padding: 0 1; }
    #facts { height: auto; max-height: 3; }
    #step { height: auto; max-height: 5; }
    .low #facts { max-height: 2; }
    .low #step { max-height: 4; }
    Curves { height: 1fr; }
    OptionList { height: auto; max-height: 1fr; border: none; padding: 0; background: transparent; }
    OptionList:focus { border: none; }
    #notes { height: auto; }
    VerticalScroll { scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "tab('curves')", "Curves", show=False),
        Binding("2", "tab('findings')", "Tabs", key_display="1 2 3"),
        Binding("3", "tab('distributions')", "Distributions", show=False),
        Binding("slash", "search", "Search", key_display="/"),
        Binding("plus,equals_sign", "zoom(0.5)", "Zoom", show=False),
        Binding("minus", "zoom(2)", "Wider", show=False),
        Binding("0", "zoom(0)", "All", show=False),
        Binding("c", "copy", "Copy command"),
        Binding("t", "theme", "Light/dark", show=False),
        Binding("escape", "everything", "Back", show=False),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
    ]

    def __init__(self, content: ReportContent) -> None:
        super().__init__()
        self.content = content
        self.places = {one.finding: one for one in content.placed}
        #: Where the cursor goes in the episode that is chosen next.
        self._position: int | None = None
        # What terminals tell of their background: `15;0`, text and ground.
        ground = os.environ.get("COLORFGBG", "").rpartition(";")[2]
        if ground in ("7", "15") and "TEXTUAL_THEME" not in os.environ:
            self.theme = "textual-light"

    def compose(self) -> ComposeResult:
        content, stored = self.content, self.content.stored
        yield Static(headline(content), id="head")
        with Horizontal():
            with Vertical(id="left"):
                yield EpisodeList(content)
                yield Input(placeholder="id, end, reason or code", id="search", compact=True)
            with Vertical(id="right"), TabbedContent():
                with TabPane("Curves", id="curves"):
                    yield Static(id="facts")
                    yield Curves(shows_stored=stored is not None and stored.num_differing > 0)
                    yield Static(id="step")
                with TabPane(f"Findings {len(content.checkup.findings)}", id="findings"), VerticalScroll():
                    yield OptionList(
                        *(
                            Option(finding_text(finding, index in self.places), id=str(index))
                            for index, finding in enumerate(content.checkup.findings)
                        )
                    )
                    yield Static(notes(content), id="notes")
                with TabPane("Distributions", id="distributions"), VerticalScroll():
                    yield Static(id="statistics")
        yield Footer()

    def on_mount(self) -> None:
        self.query_one(EpisodeList).focus()

    def on_resize(self, event: Resize) -> None:
        self.screen.set_class(event.size.height < _LOW, "low")
        width = min(max(round(event.size.width * _SHARE), _LEAST), _MOST)
        self.query_one("#left").styles.width = width
        self.query_one(EpisodeList).fill(width)
        self.query_one("#statistics", Static).update(
            distributions(self.content, event.size.width - width - 3)
        )
        self._show_facts()

    def on_episode_list_chosen(self, event: EpisodeList.Chosen) -> None:
        curves, position = self.query_one(Curves), self._position
        if event.index is None:
            curves.episode = None
            told = "no episode is called so: Esc shows all" if self.content.episodes else "no episodes"
            curves.refresh()
            self.query_one("#facts", Static).update(Text(told, QUIET))
            self.query_one("#step", Static).update("")
            return
        self._position = None
        episode = self.content.episodes[event.index]
        if curves.episode is episode and position is None:
            return
        marked = [one.position for one in self.content.placed if one.episode == event.index]
        curves.show(episode, position, marked)
        self._show_facts()

    def _show_facts(self) -> None:
        index = self.query_one(EpisodeList).chosen
        if index is not None:
            is_short = self.size.height < _LOW
            self.query_one("#facts", Static).update(facts(self.content, index, is_short=is_short))

    def on_curves_moved(self, _: Curves.Moved) -> None:
        index, curves = self.query_one(EpisodeList).chosen, self.query_one(Curves)
        if index is not None and curves.episode is self.content.episodes[index]:
            self.query_one("#step", Static).update(step_line(self.content, index, curves.point))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        place = self.places.get(int(event.option.id or 0))
        if place is None:
            self.notify("No step of the episodes here: it is of the file as a whole.", timeout=3)
            return
        episodes, curves = self.query_one(EpisodeList), self.query_one(Curves)
        self.action_everything()
        if episodes.chosen == place.episode:
            marked = [one.position for one in self.content.placed if one.episode == place.episode]
            curves.show(self.content.episodes[place.episode], place.position, marked)
            return
        self._position = place.position
        episodes.choose(place.episode)

    def on_input_changed(self, event: Input.Changed) -> None:
        self.query_one(EpisodeList).search(event.value)

    def on_input_submitted(self, _: Input.Submitted) -> None:
        self.query_one(EpisodeList).focus()

    def action_search(self) -> None:
        search = self.query_one(Input)
        search.add_class("open")
        search.focus()

    def action_everything(self) -> None:
        """All episodes, and their curves."""
        search = self.query_one(Input)
        search.value = ""
        search.remove_class("open")
        self.action_tab("curves")

    def action_tab(self, name: str) -> None:
        self.query_one(TabbedContent).active = name
        if name == "findings" and self.content.checkup.findings:
            self.query_one(OptionList).focus()
        else:
            self.query_one(EpisodeList).focus()

    def action_step(self, by: int) -> None:
        self.query_one(Curves).action_step(by)

    def action_stride(self, by: int) -> None:
        self.query_one(Curves).action_stride(by)

    def action_zoom(self, factor: float) -> None:
        self.query_one(Curves).zoom(factor)

    def action_copy(self) -> None:
        index, curves = self.query_one(EpisodeList).chosen, self.query_one(Curves)
        if index is not None:
            self.copy_to_clipboard(explain_command(self.content, index, curves.point))
            self.notify("The gae explain command is copied.", timeout=2)

    def action_theme(self) -> None:
        self.theme = "textual-dark" if self.theme == "textual-light" else "textual-light"

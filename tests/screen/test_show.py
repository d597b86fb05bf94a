"""`gae show` driven by keys: the numbers of the screen, what is found on it, and who may see it."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import textual.app
import textual.pilot
from cli.rollout_files import COUNT, LAST_ROWS, LENGTH, ROWS, columns, write
from textual._compositor import Compositor
from textual.pilot import Pilot
from textual.widgets import OptionList, Static, TabbedContent

import gaecli
from gaecli import screen
from gaecli.commands.report import ReportOptions, report_content
from gaecli.errors import MissingExtraError, UsageError
from gaecli.report_page.content import ReportContent
from gaecli.screen.app import ShowApp
from gaecli.screen.curves import Curves
from gaecli.screen.episode_list import EpisodeList
from gaecli.screen.words import MEASURES, explain_command
from gaecli.settings import Settings

GAMMA, LAM = 0.9, 0.8


def gathered(path: Path) -> ReportContent:
    return report_content(path, Settings(gamma=GAMMA, lam=LAM), ReportOptions(command="gae show"))


def look(
    content: ReportContent,
    *stages: str,
    at: Callable[[ShowApp], Any],
    size: tuple[int, int] = (100, 30),
) -> list[Any]:
    """What `at` sees after the keys of each stage.

    The screen is drawn after each stage, and not whenever something moves, which takes half of all time.
    """

    async def settled(*_: float) -> None:
        """In place of sleep until the process has nothing to do: no widget has a message left, three times."""
        for _ in range(3):
            await pilots[0]._wait_for_screen()

    pilots: list[Pilot[None]] = []

    async def visit() -> list[Any]:
        app, seen = ShowApp(content), []
        async with app.run_test(size=size) as pilot:
            pilots.append(pilot)
            patch.setattr(textual.app, "wait_for_idle", settled)
            patch.setattr(textual.pilot, "wait_for_idle", settled)
            for keys in stages:
                await _pressed(pilot, keys.split())
                seen.append(at(app))
                drawn(app.screen._compositor, full=True)
        return seen

    drawn = Compositor.render_update
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Compositor, "render_update", lambda *_, **__: None)
        return asyncio.run(visit())


async def _pressed(pilot: Pilot[None], keys: list[str]) -> None:
    await pilot.pause()
    for key in keys:
        await pilot.press(key)
    await pilot.pause()


def curves_of(app: ShowApp) -> str:
    return app.query_one(Curves).render().plain


def text_of(app: ShowApp, name: str) -> str:
    return str(app.query_one(name, Static).render())


def number_after(text: str, name: str) -> float:
    words = text.split()
    return float(words[words.index(name) + 1].replace(",", ""))


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> ReportContent:
    return gathered(write(tmp_path_factory.mktemp("show") / "a.parquet"))


class TestNumbers:
    def test_the_numbers_of_a_step_are_those_of_compute(self, content: ReportContent) -> None:
        with pytest.warns(UserWarning, match="without a next value"):
            computed = gaecli.compute(pa.table(columns()), gamma=GAMMA, lam=LAM)

        def seen(app: ShowApp) -> tuple[int, str, str]:
            index = app.query_one(EpisodeList).chosen
            assert index is not None
            return content.episodes[index].row, curves_of(app), text_of(app, "#step")

        ((first, text, step),) = look(content, "down right right right right right left", at=seen)
        row = first + 4
        assert f"row {row} " in f"{step} ".replace("\n", " ")
        assert step.endswith(f"--row {row}")
        for name, column in (("r", "reward"), ("V", "value"), ("R", "return"), ("A", "advantage")):
            assert number_after(text, name) == pytest.approx(computed[column][row].as_py(), rel=1e-5)

    def test_the_command_of_a_step_tells_its_advantage(self, content: ReportContent) -> None:
        words = explain_command(content, 0, 3).split()
        row = int(words[words.index("--row") + 1])
        explained = gaecli.explain(words[2], row=row, gamma=GAMMA, lam=LAM)
        assert explained.recursion == pytest.approx(content.episodes[0].curves.series["advantage"][3])

    @pytest.mark.parametrize("size", [(80, 24), pytest.param((120, 40), marks=pytest.mark.slow)])
    def test_each_end_is_told_in_words_and_lines_fit(
        self, content: ReportContent, size: tuple[int, int]
    ) -> None:
        def seen(app: ShowApp) -> tuple[str, list[str], int]:
            return text_of(app, "#facts"), curves_of(app).split("\n"), app.query_one(Curves).size.width

        ends = set()
        for told, lines, width in look(content, "", *["down"] * (COUNT - 1), at=seen, size=size):
            (end,) = [word for word in ("terminated", "truncated", "open") if word in told]
            assert lines[-1].endswith(f"{LENGTH - 1} {end}")
            assert max(map(len, lines)) <= width
            ends.add(end)
        assert ends == {"terminated", "truncated", "open"}


class TestTheList:
    def test_is_sorted_by_each_column_and_back(self, content: ReportContent) -> None:
        def order(app: ShowApp) -> list[int]:
            return app.query_one(EpisodeList).indices

        rewards = [one.total_reward for one in content.episodes]
        names = [measure.name for measure in MEASURES]
        presses = len(names) - names.index("Strange") + 1 + names.index("Σ r")
        by_reward = sorted(range(COUNT), key=rewards.__getitem__)
        assert look(content, " ".join("s" * presses), "r", at=order) == [by_reward, by_reward[::-1]]

    def test_a_search_leaves_what_it_names_and_escape_brings_all_back(self, content: ReportContent) -> None:
        def ends(app: ShowApp) -> list[str]:
            return [content.episodes[index].end for index in app.query_one(EpisodeList).indices]

        keys = "enter right shift+left plus end c 2 1 slash"  # with nothing to walk along
        found = look(content, "slash t r u n c", f"q {keys}", "escape", at=ends)
        assert found[:2] == [["truncated"], []]
        assert len(found[2]) == COUNT


def test_enter_on_a_finding_goes_to_its_step(tmp_path: Path) -> None:
    truncated = columns()["truncated"]
    truncated[LAST_ROWS[2]] = True  # a finding: that step is terminated as well
    content = gathered(write_with(tmp_path / "a.parquet", truncated=truncated))
    (place,) = [one for one in content.placed if content.checkup.findings[one.finding].rule.code == "GAE004"]

    def seen(app: ShowApp) -> tuple[str, int | None, str, str]:
        active, chosen = app.query_one(TabbedContent).active, app.query_one(EpisodeList).chosen
        return active, chosen, text_of(app, "#step"), curves_of(app).split("\n")[-2]

    ((active, chosen, step, axis),) = look(content, f"2 {'down ' * place.finding} enter", at=seen)
    assert (active, chosen) == ("curves", place.episode)
    assert f"row {LAST_ROWS[2]} · GAE004" in step
    assert axis.endswith("┴")


def write_with(path: Path, **changed: Any) -> Path:
    pq.write_table(pa.table({**columns(), **changed}), path)
    return path


def test_texts_of_the_file_are_neither_markup_nor_controls(tmp_path: Path) -> None:
    hostile = "[red]a[/red]\x1b[2J\n\u202eb"
    ids = [f"{hostile}{row // LENGTH}" for row in range(ROWS)]
    content = gathered(write_with(tmp_path / "a.parquet", episode_id=ids))

    def seen(app: ShowApp) -> str:
        row = app.query_one(EpisodeList).get_row_at(0)
        return row[0].plain + text_of(app, "#facts")

    (text,) = look(content, "", at=seen, size=(160, 40))
    assert "[red]a[/red]\\x1b[2J\\n\\u202eb" in text
    assert text.isprintable()


def test_a_file_without_episodes_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns()).slice(0, 0), path)
    (told,) = look(gathered(path), "s r right 3 2 1", at=lambda app: text_of(app, "#facts"))
    assert told == "no episodes"


def test_other_tabs_show_findings_and_distributions(content: ReportContent) -> None:
    def seen(app: ShowApp) -> tuple[str, int, str]:
        active = app.query_one(TabbedContent).active
        return active, app.query_one(OptionList).option_count, text_of(app, "#statistics")

    ((active, count, statistics),) = look(content, "3", at=seen)
    assert (active, count) == ("distributions", len(content.checkup.findings))
    assert {"advantage", "return", "δ"} <= set(statistics.split())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, Terminal())
    monkeypatch.setenv("TERM", "xterm")


class TestWhoMaySeeIt:
    def test_without_a_terminal_it_points_to_the_page(self) -> None:
        with pytest.raises(UsageError, match="needs a terminal") as caught:
            screen.check_available("a.parquet")
        assert "gae report a.parquet" in str(caught.value.hint)

    def test_without_textual_it_names_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        in_a_terminal(monkeypatch)
        screen.check_available("a.parquet")
        monkeypatch.setattr(screen, "find_spec", lambda name: None)
        with pytest.raises(MissingExtraError) as caught:
            screen.check_available("a.parquet")
        assert "gaecli[show]" in str(caught.value.hint)

    def test_neither_stdin_nor_a_dumb_terminal_will_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        in_a_terminal(monkeypatch)
        with pytest.raises(UsageError, match="keys from stdin"):
            screen.check_available("-")
        monkeypatch.setenv("TERM", "dumb")
        with pytest.raises(UsageError, match="TERM=dumb"):
            screen.check_available("a.parquet")

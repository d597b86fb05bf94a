"""The page of `gae report` in a real Chromium: what a person clicks, types and sees, and that it asks nobody.

pip install -e '.[test,browser]' && apt-get install chromium && pytest -m browser tests/report_page
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.rollout_files import LAST_ROWS, LENGTH, advantages, columns, write

from gaecli.commands.report import ReportOptions, report
from gaecli.settings import Settings

pytestmark = pytest.mark.browser

GAMMA, LAM = 0.9, 0.8
CHROMIUM = os.environ.get("GAECLI_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium: playwright's own need not be there."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """`opened(source, settings)`: its page in a window; in the end nothing was requested, and nothing failed."""
    contexts, troubles = [], []

    def trouble(kind: str) -> Callable[[Any], None]:
        return lambda what: troubles.append(f"{kind}: {getattr(what, 'text', what)}")

    def asked(request: Any) -> None:
        if not request.url.startswith(("file:", "data:")):
            troubles.append(f"request: {request.url}")

    def opened_page(
        source: Path,
        settings: Settings | None = None,
        *,
        width: int = 1280,
        theme: str = "light",
        **options: Any,
    ) -> Any:
        output = tmp_path / "page.html"
        report(source, settings or Settings(gamma=GAMMA, lam=LAM), ReportOptions(output, **options))
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", trouble("console"))
        page.on("pageerror", trouble("error"))
        page.on("dialog", lambda dialog: (troubles.append("dialog"), dialog.dismiss()))
        page.on("request", asked)
        page.goto(output.as_uri())
        page.locator("html[data-ready=true]").wait_for(state="attached")  # no `eval`, which the page forbids
        return page

    yield opened_page
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture
def rollouts(tmp_path: Path) -> Path:
    """Four episodes of fifteen steps; a finding on the last step of the third one."""
    truncated = columns()["truncated"]
    truncated[LAST_ROWS[2]] = True
    return write(tmp_path / "a.parquet", truncated=truncated)


def cells(page: Any, column: int) -> list[str]:
    return page.locator(f"#rows tr td:nth-child({column})").all_inner_texts()


def shown_step(page: Any) -> tuple[str, dict[str, float]]:
    """(title, name of the curve -> number) of the step that is shown."""
    rows = page.locator("#step-numbers tr").all()
    numbers = {
        row.locator("th").inner_text().strip(): float(
            row.locator("td").first.inner_text().replace("−", "-").replace(",", "")
        )
        for row in rows
    }
    return page.locator("#step-title").inner_text(), numbers


def hover(page: Any, panel: int, share: float) -> None:
    """Over a panel of curves, at that share of its width."""
    curves = page.locator("#curves .u-over").nth(panel)
    curves.scroll_into_view_if_needed()
    box = curves.bounding_box()
    page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)


class TestEpisodes:
    def test_the_list_sorts_both_ways_by_any_column(self, opened, rollouts) -> None:
        page = opened(rollouts)
        expected = [columns()["reward"][k * LENGTH : (k + 1) * LENGTH].sum() for k in range(4)]
        heading = page.get_by_role("columnheader", name="Σ r")
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == "ascending"  # the worst first
        shown = [float(cell.replace("−", "-")) for cell in cells(page, 3)]
        np.testing.assert_allclose(shown, sorted(expected), rtol=1e-3)
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == "descending"
        assert [float(cell.replace("−", "-")) for cell in cells(page, 3)] == shown[::-1]

    def test_search_keeps_what_has_all_words(self, opened, rollouts) -> None:
        page = opened(rollouts)
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "search"
        page.keyboard.type("open")
        assert cells(page, 6) == ["open"]
        assert page.locator("#matches").inner_text() == "1 of 4"
        page.keyboard.press("Escape")
        assert page.locator("#rows tr").count() == 4

    def test_arrows_move_between_episodes_and_the_curves_follow(self, opened, rollouts) -> None:
        page = opened(rollouts)
        page.get_by_role("columnheader", name="Episode").get_by_role("button").click()
        page.locator("#rows tr").first.click()
        titles = [page.locator("#episode-title").inner_text()]
        for _ in range(3):
            page.keyboard.press("ArrowDown")
            titles.append(page.locator("#episode-title").inner_text())
        assert titles == [f"Episode #{number}" for number in (1, 2, 3, 4)]
        assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
        page.keyboard.press("Home")
        page.keyboard.press("j")
        assert page.locator("#episode-title").inner_text() == "Episode #2"

    def test_every_row_can_be_reached_by_the_tab_key(self, opened, rollouts) -> None:
        page = opened(rollouts)
        page.locator("#search").focus()
        seen = []
        for _ in range(14):
            page.keyboard.press("Tab")
            seen.append(page.evaluate("document.activeElement.tagName + '#' + document.activeElement.id"))
            ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert ring != "none", seen[-1]
        assert "TR#" in seen
        assert "DIV#curves" in seen


class TestCurves:
    def test_a_hovered_step_shows_the_numbers_of_a_loop(self, opened, rollouts) -> None:
        page, of = opened(rollouts), columns()
        expected = advantages(of, GAMMA, LAM)
        page.get_by_role("columnheader", name="Episode").get_by_role("button").click()
        page.locator("#rows tr").nth(1).click()
        for panel, share, step in ((0, 0.0, 0), (1, 0.5, 7), (2, 1.0, LENGTH - 1)):
            hover(page, panel, min(max(share, 0.002), 0.998))
            title, numbers = shown_step(page)
            row = LENGTH + step
            assert title == f"Step {step} of {LENGTH}, row {row}"
            assert numbers["reward r"] == pytest.approx(of["reward"][row], rel=1e-5)
            assert numbers["value V"] == pytest.approx(of["value"][row], rel=1e-5)
            assert numbers["advantage A"] == pytest.approx(expected[row], rel=1e-5)
            assert numbers["return R"] == pytest.approx(expected[row] + of["value"][row], rel=1e-5)
            command = page.locator("#step-command").inner_text()
            assert command == f"gae explain {rollouts} --gamma {GAMMA} --lam {LAM} --row {row}"
        assert "ends truncated, bootstrapped with 0" in page.locator("#step-ends").inner_text()
        facts = page.locator("#episode-facts").inner_text()
        assert f"mean V {of['value'][LENGTH : 2 * LENGTH].mean():.4g}".replace("-", "−") in facts

    def test_a_kept_step_stays_and_keys_move_it(self, opened, rollouts) -> None:
        page = opened(rollouts)
        hover(page, 0, 0.5)
        page.mouse.down()
        page.mouse.up()
        page.mouse.move(5, 5)
        assert shown_step(page)[0].startswith("Step 7 ")
        page.locator("#curves").focus()
        page.keyboard.press("ArrowRight")
        assert shown_step(page)[0].startswith("Step 8 ")
        page.keyboard.press("End")
        assert shown_step(page)[0].startswith(f"Step {LENGTH - 1} ")

    def test_all_panels_zoom_together_and_back(self, opened, rollouts) -> None:
        page = opened(rollouts)
        box = page.locator("#curves .u-over").first.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 40, steps=4)
        page.mouse.up()
        for panel in range(3):
            hover(page, panel, 0.002)
            assert shown_step(page)[0].startswith("Step 4 "), (
                panel
            )  # a quarter of 14, in the middle between 3 and 4
        page.get_by_role("button", name="Whole episode").click()
        hover(page, 2, 0.002)
        assert shown_step(page)[0].startswith("Step 0 ")

    def test_the_command_is_copied(self, opened, rollouts) -> None:
        page = opened(rollouts)
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_role("button", name="Copy").click()
        page.get_by_role("button", name="Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == page.locator("#step-command").inner_text()

    def test_a_curve_can_be_hidden(self, opened, rollouts) -> None:
        page = opened(rollouts)
        button = page.get_by_role("button", name="TD error δ")
        pixels = "document.querySelectorAll('#curves canvas')[2].toDataURL()"
        before = page.evaluate(pixels)
        button.click()
        assert button.get_attribute("aria-pressed") == "false"
        page.wait_for_timeout(100)
        assert page.evaluate(pixels) != before


class TestTheRest:
    def test_a_finding_leads_to_its_step(self, opened, rollouts) -> None:
        page = opened(rollouts)
        page.locator("#search").fill("open")  # whatever is searched for
        page.locator("#finding-list li", has_text="GAE004").get_by_role("button").click()
        assert page.locator("#episode-title").inner_text() == "Episode #3"
        assert shown_step(page)[0] == f"Step {LENGTH - 1} of {LENGTH}, row {LAST_ROWS[2]}"
        assert "GAE004" in page.locator("#step-ends").inner_text()
        assert page.evaluate("document.activeElement.id") == "curves"

    def test_the_theme_goes_by_the_system_and_by_the_button(self, opened, rollouts) -> None:
        page = opened(rollouts, theme="dark")
        ground = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(ground) == "rgb(15, 19, 24)"
        page.locator("#theme").click()
        assert page.evaluate(ground) == "rgb(255, 255, 255)"
        page.emulate_media(color_scheme="light")
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        page.emulate_media(color_scheme="dark")
        page.locator("html[data-theme=dark]").wait_for(state="attached")
        assert page.evaluate(ground) == "rgb(15, 19, 24)"

    @pytest.mark.parametrize("width", [1280, 700])
    def test_nothing_is_wider_than_the_window(self, opened, rollouts, width: int) -> None:
        page = opened(rollouts, width=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    def test_equal_groups_are_told_and_lead_to_their_responses(self, opened, tmp_path: Path) -> None:
        table = {"prompt": ["a", "a", "b", "b", "b"], "reward": [1.0, 0.0, 0.5, 0.5, 0.5]}
        pq.write_table(pa.table(table), tmp_path / "a.parquet")
        settings = Settings(estimator="grpo", group_column=("prompt",), layout="responses")
        page = opened(tmp_path / "a.parquet", settings)
        first = page.locator("#group-rows tr").first  # those without spread come first
        assert "0 (equal)" in first.inner_text()
        first.get_by_role("button", name="b").click()
        assert page.locator("#rows tr").count() == 3

    def test_hostile_texts_are_texts(self, opened, tmp_path: Path) -> None:
        text = "</script><script>alert(1)</script><img src='http://example.org/x.png' onerror='alert(2)'>\u2028\u202e"
        ids = [one for one in (text, "x" * 5_000, "c", "d") for _ in range(LENGTH)]
        pq.write_table(pa.table({**columns(), text: ids}), tmp_path / "a.parquet")
        page = opened(tmp_path / "a.parquet", Settings(columns={"episode": text}))
        assert "</script><script>alert(1)</script>" in page.locator("#rows").inner_text()
        assert text.split("\u2028", maxsplit=1)[0] in page.locator("#about-body").inner_text()
        assert page.locator("img").count() == 0
        assert page.evaluate("document.scripts.length") == 4
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280

    def test_without_values_there_is_no_trouble(self, opened, tmp_path: Path) -> None:
        pq.write_table(
            pa.table({"reward": [1.0, 2.0, 4.0], "done": [False, True, True]}), tmp_path / "a.parquet"
        )
        page = opened(tmp_path / "a.parquet")
        assert page.locator("#explained").is_hidden()
        assert "mc" in page.locator("#notes").inner_text()
        assert set(shown_step(page)[1]) == {"reward r", "return R"}

    def test_a_million_steps_are_there_in_two_seconds(self, opened, tmp_path: Path) -> None:
        """Of the clock that begins with the request of the page; a busy machine gets a second try."""
        size, length = 1_000_000, 250
        random = np.random.default_rng(0)
        done = np.arange(size) % length == length - 1
        table = {"reward": random.normal(size=size), "value": random.normal(size=size), "done": done}
        pq.write_table(pa.table(table), tmp_path / "a.parquet")
        page = opened(tmp_path / "a.parquet")
        assert (tmp_path / "page.html").stat().st_size < 5e6
        ready = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
        took = page.evaluate(ready)
        if took > 2_000:
            page.reload()
            took = page.evaluate(ready)
        assert took < 2_000
        assert re.match(r"300 of 4,000 episodes", page.locator("#chosen").inner_text())

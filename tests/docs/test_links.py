"""Links of the README and of the pages lead somewhere, and so do its pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_LINK = re.compile(r"""\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)\"""")


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for found in _LINK.findall(text):
        link = "".join(found)
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_list_of_what_is_on_a_page_is_complete(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    listed = re.search(r"^On this page: (.+?)\n\n", text, re.MULTILINE | re.DOTALL)
    if listed is not None:
        assert re.findall(r"\[(.+?)\]\(#", listed[1]) == re.findall(r"^## (.+)$", text, re.MULTILINE)


def test_every_picture_is_in_the_readme_dark_and_light() -> None:
    shown = set(re.findall(r"docs/screens/([\w-]+\.\w+)", PAGES[0].read_text(encoding="utf-8")))
    assert shown == {path.name for path in (ROOT / "docs" / "screens").glob("*")}
    assert {name.replace("-dark", "-light") for name in shown} == {
        name for name in shown if "-dark" not in name
    }

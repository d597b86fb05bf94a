"""`--plot`: what is drawn is what is in the file, bounded, and the files stand on their own."""

from __future__ import annotations

import importlib.util
import logging
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import gaecli
from gaecli.cli.main import app
from gaecli.errors import FileError, MissingExtraError
from gaecli.gallery import Gallery
from gaecli.report import plots
from gaecli.report.plots import paper, rollouts
from gaecli.report.text import Canvas

needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="needs the extra `plot`"
)


@pytest.fixture(scope="module")
def long_file(tmp_path_factory):
    """50,000 rows in row groups that cut episodes; more than a picture takes."""
    random = np.random.default_rng(1)
    num_rows = 50_000
    ends = random.random(num_rows) < 0.01
    ends[-1] = True
    rewards, values = random.normal(size=num_rows), random.normal(size=num_rows)
    columns = {"reward": rewards, "value": values, "terminated": ends}
    path = tmp_path_factory.mktemp("plots") / "long.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=7_000)
    return path, rewards, values, ends


def gallery_of(path, **settings) -> Gallery:
    gallery = gaecli.compute(path, dry_run=True, gallery=True, **settings).gallery
    assert gallery is not None
    return gallery


class TestGallery:
    @pytest.mark.parametrize("memory_bytes", [1 << 30, 1 << 20])
    def test_episode_rewards_are_the_sums_in_order(self, long_file, memory_bytes):
        path, rewards, _, ends = long_file
        stops = np.flatnonzero(ends) + 1
        sums = [part.sum() for part in np.split(rewards, stops)[:-1]]
        gallery = gallery_of(path, memory_bytes=memory_bytes)
        assert gallery.num_episodes == len(sums)
        np.testing.assert_allclose(gallery.episode_rewards, sums, rtol=1e-12, atol=1e-12)

    def test_samples_are_bounded_and_of_the_same_rows(self, long_file):
        path, rewards, values, _ = long_file
        gallery = gallery_of(path)
        assert gallery.num_rows == len(rewards)
        assert gallery.is_aligned
        sizes = {len(sample) for sample in gallery.samples.values()}
        assert len(sizes) == 1
        assert 10_000 <= sizes.pop() <= 20_000
        reward_of = dict(zip(values.tolist(), rewards.tolist(), strict=True))
        drawn = gallery.samples
        assert all(
            reward_of[value] == reward for value, reward in zip(drawn["value"], drawn["reward"], strict=True)
        )
        np.testing.assert_allclose(
            np.add(drawn["value"], drawn["advantage"]), drawn["return"], rtol=1e-12, atol=1e-12
        )

    def test_the_strip_is_an_episode_of_the_file(self, long_file):
        path, rewards, values, ends = long_file
        strip = gallery_of(path).strip
        rows = slice(strip.row, strip.row + strip.length)
        assert strip.rewards == tuple(rewards[rows])
        assert strip.values == tuple(values[rows])
        assert ends[rows].tolist() == [False] * (strip.length - 1) + [True]
        assert strip.end == "terminated"

    def test_nothing_is_kept_unless_asked_for(self, long_file):
        assert gaecli.compute(long_file[0], dry_run=True).gallery is None

    def test_several_files_are_one_picture(self, sample_data):
        names = [sample_data / "cartpole.parquet", sample_data / "pendulum.parquet"]
        both = gaecli.compute(names, dry_run=True, gallery=True).gallery
        single = [gallery_of(name) for name in names]
        assert both.num_episodes == sum(one.num_episodes for one in single) == 38
        assert list(both.episode_rewards) == [*single[0].episode_rewards, *single[1].episode_rewards]
        assert both.strip == single[0].strip


TITLE = "a <title> & more"


def called(*words: object) -> Any:
    """The command in this process, which has imported matplotlib already."""
    return CliRunner().invoke(app, [*map(str, words)])


def draw(path: Path, title: str) -> None:
    """A picture of little: full ones take a second each, and what is asked here are its title and its file."""
    paper.draw(str(path), title, (3.0, 2.0), lambda figure, theme: figure.add_subplot().plot([0, 1]))


@pytest.fixture(scope="module")
def page(sample_data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    page = tmp_path_factory.mktemp("page") / "page.html"
    plots.plot_gallery(gallery_of(sample_data / "cartpole.parquet"), str(page), TITLE)
    return page.read_text()


@needs_matplotlib
class TestFiles:
    # Below, commands draw SVG, and what is drawn through `gaecli.report.plots` is of the other kinds.
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("command", "suffix"), [("compute", ".png"), ("compute", ".svg"), ("sweep", ".html")]
    )
    def test_is_what_its_suffix_says(self, copy_sample, tmp_path, command, suffix):
        picture = tmp_path / f"picture{suffix}"
        result = called(command, copy_sample("cartpole.parquet"), "-q", "--plot", picture)
        assert result.exit_code == 0, result.output
        content = picture.read_bytes()
        start = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".html": b"<!doctype html>"}[suffix]
        assert content.startswith(start)
        assert len(content) > 20_000
        assert sorted(path.name for path in tmp_path.iterdir()) == ["cartpole.parquet", picture.name]

    def test_a_page_needs_nothing_from_elsewhere(self, page):
        assert page.startswith("<!doctype html>")
        assert len(page) > 20_000
        assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', page)
        assert not re.findall(r"@import|<link|<script|url\((?!#)", page)
        assert "<title>a &lt;title&gt; &amp; more</title>" in page
        light, dark = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
        # What one drawing refers to must not be found in the other, which is hidden.
        used = [
            set(re.findall(r"(?:#|url\(#)([\w-]+)", svg)) & set(re.findall(r' id="([^"]+)"', svg))
            for svg in (light, dark)
        ]
        assert used[0]
        assert not used[0] & used[1]

    @pytest.mark.few(2)
    @pytest.mark.parametrize(
        ("title", "suffix"),
        [
            ("a$b_$x^{.parquet", ".png"),
            ("a\x01\x1b[31m\nb.parquet", ".html"),
            ("日本.parquet", ".png"),
            ("<![CDATA[&]]>\"'א\u0301\u202e\u200d𓀀ཀ😀.parquet", ".html"),
            ("\x7f\x85\ufffe\uffff\U0010ffff\ue000\udc80.parquet", ".png"),
        ],
    )
    @pytest.mark.filterwarnings("error")
    def test_any_name_of_a_file_can_stand_in_a_drawing(self, tmp_path, title, suffix):
        draw(tmp_path / f"picture{suffix}", title)
        if suffix == ".html":
            drawings = re.findall(r"<svg.*?</svg>", (tmp_path / "picture.html").read_text(), re.DOTALL)
            assert len(drawings) == 2
        else:
            draw(tmp_path / "picture.svg", title)
            drawings = [(tmp_path / "picture.svg").read_text()]
        for drawing in drawings:
            texts = ElementTree.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text")
            shown = "".join("".join(text.itertext()) for text in texts)
            assert "".join(map(Canvas().clean, title.split("\n"))) in shown

    def test_names_of_inputs_and_columns_stand_in_no_ones_way(self, tmp_path, monkeypatch):
        """Names are in the title; of the panels below one is enough."""
        monkeypatch.setattr(rollouts, "draw_gallery", lambda figure, gallery, theme: figure.add_subplot())
        path, column = tmp_path / "報\x01酬\u202e<&$.parquet", "$\\frac{\x01\x1b報\ufffe<&"
        cells = {column: [1.0, 2.0, 3.0], "value": [0.0, 1.0, 2.0], "terminated": [False, False, True]}
        with path.open("wb") as file:
            pq.write_table(pa.table(cells), file)
        for command in (["compute", "--dry-run", "-q"], ["inspect", "--json"]):
            picture = tmp_path / "picture.svg"
            result = called(*command, path, "--reward-column", column, "--plot", picture)
            assert (result.exit_code, result.stderr) == (0, "")
            assert ElementTree.parse(picture).getroot().tag.endswith("svg")
            assert {*tmp_path.iterdir()} == {path, picture}
            picture.unlink()

    def test_what_matplotlib_remarks_on_fonts_is_not_told(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(logging.getLogger("matplotlib"), "handlers", [])
        monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own
        for _ in range(2):
            draw(tmp_path / "picture.png", "title")
        logging.getLogger("matplotlib.font_manager").warning("findfont: Font family not found.")
        assert capsys.readouterr().err == ""
        assert len(logging.getLogger("matplotlib").handlers) == 1

    @pytest.mark.parametrize("suffix", [".png", ".svg", pytest.param(".html", marks=pytest.mark.slow)])
    def test_equal_titles_make_equal_files(self, tmp_path, suffix):
        pictures = [tmp_path / f"{name}{suffix}" for name in "ab"]
        for picture in pictures:
            draw(picture, "pendulum")
        assert pictures[0].read_bytes() == pictures[1].read_bytes()

    def test_equal_data_makes_the_same_drawing_alone_and_on_a_page(self, tmp_path):
        def panel(figure, theme):
            """All that refers to something else: an image, a clip, a marker, an entry of a legend."""
            axes = figure.add_subplot()
            axes.scatter([0, 1], [1, 0], rasterized=True)
            axes.plot([0, 1], "o", label="line")
            axes.legend()

        page, picture = tmp_path / "page.html", tmp_path / "picture.svg"
        for path in (page, picture):
            paper.draw(str(path), TITLE, (3.0, 2.0), panel)
        drawing = picture.read_text()
        assert drawing[drawing.index("<svg") :] in page.read_text()

    def test_an_empty_gallery_and_a_constant_one_can_be_drawn(self, tmp_path):
        empty = Gallery({}, 0, True, (), 0)
        constant = Gallery(dict.fromkeys(("value", "return", "advantage"), (1.0,) * 5), 5, True, (3.0,), 1)
        for gallery in (empty, constant):
            plots.plot_gallery(gallery, str(tmp_path / "picture.png"), "title")
            assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
            assert (tmp_path / "picture.png").stat().st_size > 5_000

    @pytest.mark.slow
    def test_a_sweep_of_one_setting_and_of_many(self, sample_data, tmp_path):
        """More than there are lines for, and than there is room for numbers and marks of in a map."""
        for gammas, lams in (([0.9], [0.5]), ([i / 9 for i in range(9)], [i / 25 for i in range(25)])):
            found = gaecli.sweep(sample_data / "pendulum.parquet", gammas, lams)
            plots.plot_sweep(found, str(tmp_path / "sweep.png"), "std")
            assert (tmp_path / "sweep.png").stat().st_size > 5_000

    @pytest.mark.parametrize(
        "flags", [pytest.param(("--lam", "0.5,1"), marks=pytest.mark.slow), ("--preset", "sb3,brax")]
    )
    def test_every_input_of_a_sweep_is_on_the_page(self, sample_data, tmp_path, flags):
        paths = [sample_data / "cartpole.parquet", sample_data / "pendulum.parquet"]
        result = called("sweep", *paths, *flags, "--plot", tmp_path / "sweep.svg", "-q")
        assert result.exit_code == 0, result.output
        drawing = (tmp_path / "sweep.svg").read_text()
        ElementTree.fromstring(drawing)
        assert all(path.name in drawing for path in paths)
        assert all(name in drawing for name in ("sb3 gae", "brax gae")) == (flags[0] == "--preset")

    def test_a_place_that_cannot_be_written_is_an_error(self, tmp_path):
        with pytest.raises(FileError, match=r"nowhere/picture.png"):
            draw(tmp_path / "nowhere" / "picture.png", "title")


def test_without_matplotlib_the_extra_is_named_before_anything_is_done(monkeypatch):
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError) as caught:
        plots.check_available()
    assert caught.value.exit_code == 5
    assert "gaecli[plot]" in caught.value.hint


@pytest.mark.parametrize("command", ["compute", "sweep"])
def test_another_suffix_is_refused_before_anything_is_done(run_gae, copy_sample, command):
    path = copy_sample("cartpole.parquet")
    before = path.read_bytes()
    result = run_gae(command, path, "--plot", "picture.pdf")
    assert result.returncode == 2
    assert ".png, .svg, .html" in result.stderr
    assert path.read_bytes() == before

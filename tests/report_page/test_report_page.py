"""`gae report` without a browser: the numbers on the page, what is chosen, what is escaped, where it goes."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.rollout_files import COUNT, LAST_ROWS, LENGTH, advantages, columns, write
from formats.contract_files import BUILDERS, NESTED
from report_page.read_page import ReadPage

import gaecli
from gaecli.api.tables import SHOWN
from gaecli.commands.report import ReportOptions, report
from gaecli.errors import FileError, UsageError
from gaecli.formats.registry import FORMATS
from gaecli.settings import Settings
from gaecli.studies import episode_table
from gaecli.studies.episode_table import EpisodeTable, Of

GAMMA, LAM = 0.9, 0.8
EXACT = Settings(gamma=GAMMA, lam=LAM)
#: The page holds float32.
AS_FLOAT32 = {"rtol": 2e-7, "atol": 1e-7}


def made(source: Path, settings: Settings = EXACT, **options: Any) -> ReadPage:
    output = source.parent / "page.html"
    report(source, settings, ReportOptions(output, **options))
    return ReadPage(output.read_bytes())


def by_hand(rewards: list[float], values: list[float], beyond: float) -> tuple[list[float], list[float]]:
    """(A, δ) of one episode, backwards."""
    found, deltas, later, following = [], [], 0.0, beyond
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        deltas.append(reward + GAMMA * following - value)
        later = deltas[-1] + GAMMA * LAM * later
        found.append(later)
        following = value
    return found[::-1], deltas[::-1]


@pytest.fixture(params=["one block", "small blocks"])
def any_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes lie in one block, or in several."""
    if request.param == "small blocks":
        monkeypatch.setattr("gaecli.pipeline.opening.rows_per_block", lambda memory: 7)


@pytest.mark.usefixtures("any_blocks")
class TestNumbers:
    def test_curves_are_those_of_a_loop(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.parquet")
        page, of = made(path), columns()
        expected = advantages(of, GAMMA, LAM)
        assert page.data["numEpisodes"] == len(page.data["episodes"]) == COUNT
        for number in range(COUNT):
            episode, curves = page.episode(number)
            rows = np.arange(number * LENGTH, (number + 1) * LENGTH)
            np.testing.assert_array_equal(curves["rows"], rows)
            np.testing.assert_allclose(curves["advantage"], expected[rows], **AS_FLOAT32)
            np.testing.assert_allclose(curves["return"], (expected + of["value"])[rows], **AS_FLOAT32)
            for name in ("reward", "value"):
                np.testing.assert_array_equal(curves[name], of[name][rows].astype(np.float32))
            _, deltas = by_hand(of["reward"][rows].tolist(), of["value"][rows].tolist(), 0.0)
            np.testing.assert_allclose(curves["delta"], deltas, **AS_FLOAT32)
            assert episode["reward"] == pytest.approx(math.fsum(of["reward"][rows]))
            assert episode["advantage"] == pytest.approx(np.abs(expected[rows]).max())
            assert episode["error"] == pytest.approx(math.sqrt(np.square(expected[rows]).mean()))
        ends = [page.episode(number)[0]["end"] for number in range(COUNT)]
        assert ends == ["terminated", "truncated", "terminated", "open"]

    @pytest.mark.few("small blocks")
    def test_rows_of_environments_may_alternate(self, tmp_path: Path) -> None:
        """Each of three environments has 40 rows, in episodes of 10 that begin at other times."""
        random, steps = np.random.default_rng(1), np.repeat(np.arange(40), 3)
        envs = np.tile(np.arange(3), 40)
        done = (steps + 3 * envs) % 10 == 9
        table = {
            "env_id": envs,
            "t": steps,
            "reward": random.normal(size=120),
            "value": np.zeros(120),
            "done": done,
        }
        pq.write_table(pa.table(table), tmp_path / "a.parquet")
        page = made(tmp_path / "a.parquet")
        expected = np.zeros(120)
        for env in range(3):
            later = 0.0
            for row in np.flatnonzero(envs == env)[::-1].tolist():
                later = table["reward"][row] + GAMMA * LAM * later * (not done[row])
                expected[row] = later
        seen: list[int] = []
        for index, episode in enumerate(page.data["episodes"]):
            curves = page.curves(index)
            rows = curves["rows"]
            assert set(envs[rows]) == {episode["key"]["env"]}
            assert (np.diff(rows) == 3).all()
            assert not done[rows[:-1]].any()
            np.testing.assert_allclose(curves["advantage"], expected[rows], **AS_FLOAT32)
            seen += rows.tolist()
        assert sorted(seen) == list(range(120))

    @pytest.mark.few(8)
    @pytest.mark.parametrize("known", FORMATS, ids=lambda known: known.name)
    def test_every_format_has_the_same_page(self, known, tmp_path: Path) -> None:
        builder = BUILDERS[known.name]
        path = tmp_path / f"a{builder.suffix}"
        builder.write(path, None)
        page = made(path)
        for number, beyond in enumerate((0.0, 3.0)):
            episode, curves = page.episode(number)
            expected, deltas = by_hand(NESTED["rewards"][number], NESTED["values"][number], beyond)
            np.testing.assert_allclose(curves["advantage"], expected, **AS_FLOAT32)
            np.testing.assert_allclose(curves["delta"], deltas, **AS_FLOAT32)
            assert (episode["bootstrap"], episode["bootstrapValue"]) == (
                ("none", "next value")[number],
                beyond,
            )

    def test_explained_variance_is_that_of_its_definition(self, tmp_path: Path) -> None:
        page, of = made(write(tmp_path / "a.parquet")), columns()
        errors = advantages(of, GAMMA, LAM)
        expected = 1 - errors.var() / (errors + of["value"]).var()
        assert page.data["explainedVariance"] == pytest.approx(expected)

    def test_rows_without_values_are_shown_by_their_returns(self, tmp_path: Path) -> None:
        pq.write_table(
            pa.table({"reward": [1.0, 2.0, 4.0], "done": [False, True, True]}), tmp_path / "a.parquet"
        )
        page = made(tmp_path / "a.parquet")
        episode, curves = page.episode(0)
        np.testing.assert_allclose(curves["return"], [1 + GAMMA * 2, 2], **AS_FLOAT32)
        assert set(page.data["episodes"][0]["curves"]["series"]) == {"reward", "return"}
        assert (episode["value"], page.data["hasValues"], page.data["scatter"]) == (None, False, None)
        assert "--estimator mc" in page.data["remark"]

    def test_groups_have_their_scores_and_equal_ones_are_told(self, tmp_path: Path) -> None:
        table = {"prompt": ["a", "a", "b", "b", "b", "c"], "reward": [1.0, 0.0, 0.5, 0.5, 0.5, 2.0]}
        pq.write_table(pa.table(table), tmp_path / "a.parquet")
        settings = Settings(estimator="grpo", group_column=("prompt",), layout="responses", singleton="zero")
        groups = made(tmp_path / "a.parquet", settings).data["groups"]
        found = {one["label"]: one for one in groups["groups"]}
        assert (groups["numGroups"], groups["numFlat"], groups["numAlone"]) == (3, 1, 1)
        assert [found["a"][name] for name in ("count", "mean", "std", "min", "max")] == [
            2,
            0.5,
            0.5,
            0.0,
            1.0,
        ]
        assert (found["b"]["is_flat"], found["b"]["scores"]) == (True, [0.5] * 3)
        assert not found["c"]["is_flat"]

    def test_group_baselines_show_no_returns(self, tmp_path: Path) -> None:
        """They make none: A + V would mean nothing."""
        table = {"prompt": ["a", "a"], "reward": [1.0, 0.0], "value": [5.0, 5.0]}
        pq.write_table(pa.table(table), tmp_path / "a.parquet")
        settings = Settings(estimator="dr-grpo", group_column=("prompt",), layout="responses")
        page = made(tmp_path / "a.parquet", settings)
        assert "return" not in page.curves(0)
        assert page.data["episodes"][0]["error"] is None
        assert page.episode(0)[1]["advantage"].tolist() == [0.5]


@pytest.mark.usefixtures("any_blocks")
class TestStoredColumn:
    def test_equal_advantages_are_told_and_drawn(self, tmp_path: Path) -> None:
        given = advantages(columns(), GAMMA, LAM).astype(np.float32)
        page = made(write(tmp_path / "a.parquet", advantage=given))
        stored = page.data["stored"]
        assert (stored["column"], stored["num_compared"], stored["num_differing"]) == ("advantage", 60, 0)
        np.testing.assert_array_equal(page.episode(1)[1]["stored"], given[LENGTH : 2 * LENGTH])

    def test_it_is_that_of_the_one_episode_that_is_drawn(self, tmp_path: Path) -> None:
        truncated = columns()["truncated"]
        truncated[LAST_ROWS[2]] = True  # which is a finding
        given = np.arange(COUNT * LENGTH, dtype=np.float32)
        page = made(write(tmp_path / "a.parquet", advantage=given, truncated=truncated), episodes=1)
        assert page.curves(0)["stored"].tolist() == list(range(2 * LENGTH, 3 * LENGTH))

    def test_others_are_drawn_beside_them(self, tmp_path: Path) -> None:
        given = advantages(columns(), GAMMA, LAM)
        given[20] += 1
        page = made(write(tmp_path / "a.parquet", advantages=given))
        stored = page.data["stored"]
        assert (stored["column"], stored["num_differing"]) == ("advantages", 1)
        assert stored["max_abs"] == pytest.approx(1)
        curves = page.episode(1)[1]
        assert (curves["stored"] - curves["advantage"])[20 - LENGTH] == pytest.approx(1, abs=1e-6)

    @pytest.mark.few("small blocks")
    def test_of_an_own_column_what_was_set_otherwise_is_told(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.parquet")
        gaecli.compute(path, gamma=0.7, lam=LAM)
        stored = made(path).data["stored"]
        assert (stored["is_own"], stored["settings"]) == (True, {"gamma": 0.7})
        assert stored["num_differing"] > 0
        assert made(path, Settings(gamma=0.7, lam=LAM)).data["stored"]["num_differing"] == 0


class TestBounds:
    def test_episodes_are_chosen_and_that_is_told(self, tmp_path: Path) -> None:
        lengths = [3] * 200
        lengths[77] = 40
        done = np.concatenate([np.arange(length) == length - 1 for length in lengths])
        rewards = np.zeros(len(done))
        rewards[sum(lengths[:120])] = -9.0
        pq.write_table(pa.table({"reward": rewards, "value": rewards, "done": done}), tmp_path / "a.parquet")
        page = made(tmp_path / "a.parquet", episodes=20)
        numbers = [episode["number"] for episode in page.data["episodes"]]
        assert len(numbers) == len(set(numbers)) == 20
        assert page.data["numEpisodes"] == 200
        assert {77, 120} <= set(numbers[:2])  # the strangest first
        assert "1 longest" not in page.data["howChosen"]
        assert "2 longest" in page.data["howChosen"]
        assert "spread evenly" in page.data["howChosen"]

    def test_of_many_episodes_none_is_forgotten_that_would_be_chosen(self, monkeypatch) -> None:
        """As if all of their lines had been kept."""
        monkeypatch.setattr(episode_table, "MOST_USUAL", 50)

        def chosen(most_lines: int) -> Any:
            monkeypatch.setattr(episode_table, "MOST_LINES", most_lines)
            table, random = EpisodeTable(), np.random.default_rng(5)
            table.wanted.add(333)
            for start in range(0, 2000, 40):
                lines = random.normal(size=(40, len(Of)))
                lines[:, Of.NUMBER] = start + np.arange(40)
                lines[:, Of.STEPS] = random.integers(1, 1000, size=40)
                lines[:, Of.SQUARED_ERROR] = random.random(40)
                table.add(lines, np.zeros(40, bool), np.zeros(40, bool))
            assert table.num_episodes == 2000
            return table.chosen(10), len(table.lines())

        (few, num_few), (all_kept, num_all) = chosen(64), chosen(10_000)
        assert num_few < 200 < num_all == 2000
        np.testing.assert_array_equal(few.lines, all_kept.lines)
        assert (few.reasons, few.how) == (all_kept.reasons, all_kept.how)
        assert 333 in few.lines[:, Of.NUMBER]

    def test_long_curves_keep_their_ends_and_every_peak(self, tmp_path: Path) -> None:
        size = 30_000
        random = np.random.default_rng(3)
        rewards, done = random.normal(size=size), np.zeros(size, bool)
        done[-1] = True
        rewards[12_345] = 50.0
        rewards[23_456] = -50.0
        pq.write_table(
            pa.table({"reward": rewards, "value": np.zeros(size), "done": done}),
            tmp_path / "a.parquet",
            row_group_size=7_000,
        )
        page = made(tmp_path / "a.parquet")
        curves = page.curves(0)
        assert len(curves["steps"]) < 5_000
        assert {0, 12_345, 23_456, size - 1} <= set(curves["steps"].tolist())
        np.testing.assert_array_equal(curves["reward"], rewards[curves["steps"]].astype(np.float32))
        np.testing.assert_array_equal(curves["rows"], curves["steps"])
        assert page.data["numPoints"] == len(curves["steps"])
        for start in range(
            100, size - 200, 100
        ):  # a stretch is 45 steps: of a window the peaks are there, or higher ones
            near = (curves["steps"] >= start - 45) & (curves["steps"] < start + 145)
            window = rewards[start : start + 100].astype(np.float32)
            assert curves["reward"][near].max() >= window.max()
            assert curves["reward"][near].min() <= window.min()

    def test_a_finding_has_its_step_on_the_page(self, tmp_path: Path) -> None:
        """Whatever else would be chosen."""
        row = LAST_ROWS[2]
        truncated = columns()["truncated"]
        truncated[row] = True  # and terminated
        page = made(write(tmp_path / "a.parquet", truncated=truncated), episodes=1)
        (finding,) = [one for one in page.data["checks"]["findings"] if one["code"] == "GAE004"]
        assert (finding["row"], finding["position"]) == (row, LENGTH - 1)
        assert [episode["number"] for episode in page.data["episodes"]] == [2]
        assert page.data["episodes"][finding["episode"]]["chosenAs"] == ["with findings"]


HOSTILE = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> \u2028 \u202e 'quotes\" & \x07"


class TestHostileText:
    def test_no_text_of_a_file_is_markup(self, tmp_path: Path) -> None:
        column = HOSTILE
        ids = [HOSTILE] * 15 + ["x" * 100_000] * 15 + ["c"] * 15 + ["d"] * 15
        table = pa.table({**columns(), "episode_id": ids, column: ids})
        pq.write_table(table, tmp_path / "a.parquet")
        page = made(tmp_path / "a.parquet", Settings(columns={"episode": column}))
        harmless = made(write(tmp_path / "b.parquet"))
        assert [tag for tag, _ in page.elements.tags] == [tag for tag, _ in harmless.elements.tags]
        assert page.scripts == harmless.scripts
        assert not page.elements.open
        labels = [episode["key"]["episode"] for episode in page.data["episodes"]]
        shown = next(label for label in labels if label.startswith("</script>"))
        assert "\\u202e" in shown
        assert max(map(len, labels)) <= 2_000
        assert len(page.html) < 400_000

    def test_nothing_but_its_own_scripts_is_allowed(self, tmp_path: Path) -> None:
        page = made(write(tmp_path / "a.parquet"))
        policies = [
            one["content"]
            for tag, one in page.elements.tags
            if one.get("http-equiv") == "Content-Security-Policy"
        ]
        rules = dict(rule.strip().split(" ", 1) for rule in policies[0].split(";"))
        assert len(policies) == 1
        assert rules["default-src"] == "'none'"
        for name, texts in (
            ("script-src", page.scripts),
            ("style-src", [text for tag, _, text in page.elements.texts if tag == "style"]),
        ):
            digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
            assert rules[name].split() == [f"'sha256-{digest}'" for digest in digests]
        places = [
            one
            for _, attributes in page.elements.tags
            for one in (attributes.get("src"), attributes.get("href"))
        ]
        assert all(place is None or place.startswith(("#", "data:")) for place in places)
        assert not any(
            "style" in attributes or any(name.startswith("on") for name in attributes)
            for _, attributes in page.elements.tags
        )
        assert "Permission is hereby granted" in page.html  # the licence of uPlot

    @pytest.mark.parametrize(
        "name", ["e\u200dmoji'.parquet", "\u202erow\\t.parquet", "two\nlines.parquet", "-a b.parquet"]
    )
    def test_a_copied_command_names_the_file(self, name: str, tmp_path: Path, monkeypatch) -> None:
        """Whatever of its name cannot be seen."""
        monkeypatch.chdir(tmp_path)
        write(Path("a.parquet")).rename(Path(f"./{name}"))
        words = made(Path(f"./{name}")).data["explain"].split(" --")[0]
        assert not any(unicodedata.category(char) in ("Cf", "Cc") for char in words)
        told = words.replace("gae explain", "printf %s", 1)
        said = subprocess.run(["bash", "-c", told], capture_output=True, check=True)
        assert Path(said.stdout.decode()) == Path(name)


class TestPlaces:
    def test_it_stands_beside_the_input(self, tmp_path: Path) -> None:
        path = write(tmp_path / "runs.v2.parquet")
        assert report(path).output == str(tmp_path / "runs.v2.report.html")
        first = (tmp_path / "runs.v2.report.html").read_bytes()
        report(path)  # over its own page
        assert (tmp_path / "runs.v2.report.html").read_bytes() == first

    def test_a_file_of_somebody_else_is_left_alone(self, tmp_path: Path) -> None:
        path, output = write(tmp_path / "a.parquet"), tmp_path / "a.report.html"
        output.write_text("<p>mine</p>")
        with pytest.raises(FileError, match="is no page of `gae report`"):
            report(path)
        assert output.read_text() == "<p>mine</p>"
        report(path, options=ReportOptions(overwrite=True))
        assert ReadPage(output.read_bytes()).data["numEpisodes"] == COUNT

    def test_what_has_no_place_of_its_own_needs_a_name(self) -> None:
        with pytest.raises(UsageError, match="stand beside"):
            report("-")

    def test_a_table_in_memory_needs_a_name_and_shows_none_of_its_own(self, tmp_path: Path) -> None:
        table = pa.table(columns())
        with pytest.raises(UsageError, match="no place of its own"):
            gaecli.write_report(table)
        written = gaecli.write_report(table, tmp_path / "a.html", episodes=2, gamma=0.9)
        page = ReadPage((tmp_path / "a.html").read_bytes())
        assert (written.num_shown, written.num_episodes, len(page.data["episodes"])) == (2, COUNT, 2)
        assert page.data["source"] == SHOWN

    def test_an_input_that_is_not_there_is_told_as_always(self, tmp_path: Path) -> None:
        with pytest.raises(FileError, match="does not exist"):
            report(tmp_path / "nowhere" / "a.parquet")

    def test_nothing_is_written_where_the_input_cannot_be_read(self, tmp_path: Path) -> None:
        pq.write_table(
            pa.table({"reward": [math.nan], "value": [1.0], "done": [True]}), tmp_path / "a.parquet"
        )
        with pytest.raises(Exception, match="NaN"):
            report(tmp_path / "a.parquet")
        assert [one.name for one in tmp_path.iterdir()] == ["a.parquet"]


class TestCommand:
    def test_it_says_what_it_wrote(self, tmp_path: Path, run_gae) -> None:
        done = run_gae("report", write(tmp_path / "a.parquet"), "-o", tmp_path / "p.html", "--gamma", "0.9")
        assert (done.returncode, done.stderr) == (0, "")
        assert re.match(
            rf"wrote {re.escape(str(tmp_path))}/p.html, \d+ kB: 4 episodes, 60 steps; no findings",
            done.stdout.replace("\n", " "),
        )
        assert ReadPage((tmp_path / "p.html").read_bytes()).data["explain"].endswith("--gamma 0.9 --lam 0.95")

    def test_a_page_on_stdout_is_nothing_but_the_page(self, tmp_path: Path, run_gae) -> None:
        done = run_gae("report", write(tmp_path / "a.parquet"), "-o", "-", text=False)
        assert done.returncode == 0
        assert ReadPage(done.stdout).data["numEpisodes"] == COUNT
        assert b"wrote -" in done.stderr
        assert [one.name for one in tmp_path.iterdir()] == ["a.parquet"]

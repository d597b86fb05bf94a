"""The table of presets, `gae presets`, and which of two wins: a flag or the preset."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import gaecli
from gaecli.cli.main import app
from gaecli.presets import ALIASES, ALL_PRESETS, PRESETS, find_preset
from gaecli.presets.base import SETTING_FIELDS
from gaecli.settings import SETTING_NAMES, RunOptions, Settings

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
class TestTheTable:
    def test_its_settings_are_valid(self, preset):
        settings = Settings.from_preset(preset.name)
        assert settings.preset == preset.name
        assert settings.overrides == {}
        assert settings.convention is preset

    def test_says_what_there_is_to_say(self, preset):
        for text in (preset.library, preset.summary, preset.source, preset.delta, preset.recursion_text):
            assert text.strip() == text != ""
        assert len(preset.summary) <= 75, "one line of the list"
        assert "=" in preset.recursion_text

    def test_normalises_exactly_where_stored_advantages_are_normalised(self, preset):
        in_update = "in the update" in preset.normalization_text
        off = preset.normalization_text.startswith(("off", "none", "optional"))
        after = "sample batches were written" in preset.normalization_text
        assert (preset.normalize == "none") == (in_update or off or after)


def test_exact_is_what_settings_are_without_a_preset():
    assert Settings.from_preset("exact") == Settings()


def test_a_row_decides_nothing_that_settings_do_not_have():
    assert set(SETTING_FIELDS) <= SETTING_NAMES


def test_the_page_of_presets_is_current():
    written = runpy.run_path(str(ROOT / "docs" / "make_presets.py"))["document"]()
    assert (ROOT / "docs" / "presets.md").read_text(encoding="utf-8") == written, "run docs/make_presets.py"


class TestFromPreset:
    def test_what_is_given_wins(self):
        settings = Settings.from_preset("sb3", gamma=0.5, norm_ddof=0)
        assert (settings.gamma, settings.lam, settings.norm_ddof) == (0.5, 0.95, 0)
        assert settings.overrides == {"gamma": 0.5, "norm_ddof": 0}

    def test_none_is_not_given(self):
        assert Settings.from_preset("brax", gamma=None).gamma == 0.9

    def test_false_and_zero_are_given(self):
        assert Settings.from_preset("brax", gamma=0.0, join=False).gamma == 0.0
        assert Settings.from_preset("brax", join=False).join is False

    def test_unknown_names_are_refused_with_a_suggestion(self):
        with pytest.raises(gaecli.UsageError, match="no preset `sb4`") as failure:
            Settings.from_preset("sb4")
        assert "`sb3`" in str(failure.value.hint)
        with pytest.raises(gaecli.UsageError, match="no preset") as failure:
            Settings(preset="skrl")
        assert "`skrl-1.4` or `skrl-2.0` or `skrl-2.1`" in str(failure.value.hint)

    @pytest.mark.parametrize(
        ("name", "wrong"),
        [
            ("truncation", "fold"),
            ("mask_fill", "nan"),
            ("mask_mode", "skipped"),
            ("lam_alpha", 0.0),
            ("lam_alpha", "long"),
            ("gamma", "0.9"),
            ("gamma", float("nan")),
            ("norm_eps", None),
            ("estimator", "v-trace"),
            ("estimator", None),
        ],
    )
    def test_bad_settings_are_named(self, name, wrong):
        with pytest.raises(gaecli.UsageError, match="--" + name.replace("_", "-")):
            Settings(**{name: wrong})

    @pytest.mark.parametrize(
        ("name", "wrong"),
        [("engine", "spark"), ("engine", ""), ("jobs", 0), ("jobs", -2), ("memory_bytes", 0)],
    )
    def test_bad_options_are_named(self, name, wrong):
        with pytest.raises(gaecli.UsageError, match="--" + name.removesuffix("_bytes")):
            RunOptions(**{name: wrong})

    @pytest.mark.parametrize("scope", ["file", "episode"])
    def test_two_groupings_are_refused_in_python_as_on_the_command_line(self, scope):
        """What the command line refuses nobody computes."""
        with pytest.raises(gaecli.UsageError, match=f"`--normalize {scope}` and `--normalize-by`"):
            Settings(normalize=scope, normalize_by="task")
        assert Settings(normalize="all", normalize_by="task").normalizes


class TestOtherNames:
    """Libraries that compute as another one does are named after it."""

    @pytest.mark.parametrize("alias", ALIASES.values(), ids=ALIASES)
    def test_an_alias_is_its_preset(self, alias):
        assert alias.name not in PRESETS
        assert Settings.from_preset(alias.name) == Settings.from_preset(alias.preset)
        assert Settings(preset=alias.name).preset == alias.preset
        assert alias.words

    @pytest.mark.parametrize(
        ("given", "preset"), [("SB3", "sb3"), ("rl_games", "rl-games"), ("JaxMARL", "purejaxrl")]
    )
    def test_capitals_and_underscores_make_no_other_name(self, given, preset):
        assert find_preset(given) is PRESETS[preset]

    @pytest.mark.parametrize(
        ("given", "near"),
        [("jaxmrl", "jaxmarl"), ("maniskill", "finite-horizon"), ("isaac-lab", "isaaclab"), ("ppo", "sb3")],
    )
    def test_near_misses_are_told(self, given, near):
        with pytest.raises(gaecli.UsageError) as failure:
            find_preset(given)
        assert f"`{near}`" in str(failure.value.hint)

    def test_summary_and_provenance_name_the_preset(self, copy_sample, run_gae):
        path = copy_sample("cartpole.parquet")
        result = run_gae("compute", path, "--preset", "mjlab")
        assert "preset rsl-rl" in result.stdout
        assert gaecli.inspect(path).provenance["settings"]["preset"] == "rsl-rl"
        assert gaecli.compute(path, preset="rsl-rl").files[0].status == "up to date"
        assert gaecli.verify(path, preset="isaaclab").best.presets[0] == "rsl-rl"

    def test_they_are_listed_with_their_preset(self, run_gae):
        words = " ".join(run_gae("presets").stdout.split())
        assert "rsl-rl is isaaclab, mjlab" in words
        assert run_gae("presets", "isaaclab").stdout.startswith("rsl-rl")
        (one,) = json.loads(run_gae("presets", "mjlab", "--json").stdout)["presets"]
        assert one["name"] == "rsl-rl"
        assert "isaaclab" in one["aliases"]


class TestPresetsCommand:
    @pytest.mark.parametrize("columns", ["60", "80", "120", "160"])
    def test_the_list_names_every_preset_and_fits(self, run_gae, columns):
        result = run_gae("presets", env={"COLUMNS": columns})
        assert result.returncode == 0, result.stderr
        for preset in PRESETS.values():
            assert any(line.split()[:1] == [preset.name] for line in result.stdout.splitlines())
            words = " ".join(result.stdout.split())
            assert preset.summary in words
        assert max(map(len, result.stdout.splitlines())) <= int(columns)
        assert "\x1b" not in result.stdout

    @pytest.mark.turns
    @pytest.mark.parametrize("columns", ["80", "120"])
    @pytest.mark.parametrize("name", PRESETS)
    def test_one_preset_in_full(self, name, columns):
        result = CliRunner().invoke(app, ["presets", name], env={"COLUMNS": columns})
        assert result.exit_code == 0, result.output
        words = " ".join(result.stdout.split())
        preset = PRESETS[name]
        for text in (preset.library, preset.delta, preset.recursion_text, preset.source, *preset.traps):
            assert " ".join(text.split()) in words
        assert f"γ {preset.gamma:g}" in words
        assert f"ddof {preset.norm_ddof}" in words
        assert max(map(len, result.stdout.splitlines())) <= int(columns)
        assert "\x1b" not in result.stdout

    def test_letters_that_the_terminal_lacks_do_not_stop_it(self, run_gae):
        result = run_gae("presets", "sb3", env={"PYTHONIOENCODING": "ascii"})
        assert result.returncode == 0, result.stderr
        assert "r' + gamma (1 - d) V' - V" in result.stdout
        assert "A = delta + gamma*lambda (1 - d) A'" in result.stdout

    def test_json_of_all_and_of_one(self, run_gae):
        document = json.loads(run_gae("presets", "--json").stdout)
        assert [preset["name"] for preset in document["presets"]] == list(ALL_PRESETS)
        (one,) = json.loads(run_gae("presets", "brax", "--json").stdout)["presets"]
        assert one["settings"]["gamma"] == 0.9
        assert one["done_at"] == "end"
        assert one["traps"]

    def test_an_unknown_name_is_exit_2(self, run_gae):
        result = run_gae("presets", "clean-rl")
        assert (result.returncode, result.stdout) == (2, "")
        assert "`cleanrl`" in result.stderr


class TestComputeWithAPreset:
    def test_summary_and_provenance_name_every_setting_in_force(self, copy_sample, run_gae):
        path = copy_sample("cartpole.parquet")
        result = run_gae("compute", path, "--preset", "cleanrl", "--gamma", "0.9", "--json")
        assert result.returncode == 0, result.stderr
        settings = json.loads(result.stdout)["settings"]
        assert settings["preset"] == "cleanrl"
        assert (settings["gamma"], settings["lam"], settings["truncation"]) == (0.9, 0.95, "zero")
        assert settings["overrides"] == {"gamma": 0.9}
        stored = gaecli.inspect(path).provenance["settings"]
        assert stored == {name: value for name, value in settings.items() if name != "overrides"}

    def test_the_table_says_what_beats_the_preset(self, copy_sample, run_gae):
        path = copy_sample("cartpole.parquet")
        result = run_gae("compute", path, "--preset", "brax", "--gamma", "0.99", "--norm-ddof", "1")
        assert "preset brax" in result.stdout
        assert "--gamma 0.99 over the preset's 0.9" in result.stdout
        assert "--norm-ddof 1 over the preset's 0" in result.stdout
        assert "--truncation" not in result.stdout.split("settings")[1].splitlines()[0]

    def test_python_and_the_command_agree(self, copy_sample, tmp_path, run_gae):
        path = copy_sample("cartpole.parquet")
        other = tmp_path / "other.parquet"
        other.write_bytes(path.read_bytes())
        assert run_gae("compute", path, "--preset", "rsl-rl", "-g", "0.98").returncode == 0
        summary = gaecli.compute(other, preset="rsl-rl", gamma=0.98)
        assert summary.settings["overrides"] == {"gamma": 0.98}
        assert pq.read_table(path).equals(pq.read_table(other))

    def test_another_preset_is_not_up_to_date(self, copy_sample):
        path = copy_sample("cartpole.parquet")
        gaecli.compute(path, preset="sb3")
        assert gaecli.compute(path, preset="sb3").files[0].status == "up to date"
        assert gaecli.compute(path, preset="torchrl").files[0].status == "written"

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("cleanrl", "treats 6 truncated ends as terminal"),
            ("rsl-rl", "V of the last state"),
            ("brax", "no advantage at 6 truncated ends"),
            ("skrl-2.1", "does not cut at 6 truncated ends"),
        ],
    )
    def test_deviations_on_the_data_at_hand_are_told(self, copy_sample, name, words):
        summary = gaecli.compute(copy_sample("cartpole.parquet"), preset=name)
        (note,) = [note for note in summary.warnings if note.code == "preset-truncation"]
        assert words in note.message
        assert note.count == 6
        assert (summary.totals.terminated, summary.totals.truncated) == (19, 6), "the data's own ends"

    def test_nothing_is_told_where_nothing_deviates(self, copy_sample):
        for name in ("sb3", "torchrl", "tianshou", "rlax"):
            summary = gaecli.compute(copy_sample("cartpole.parquet"), preset=name)
            assert not [note for note in summary.warnings if note.code.startswith("preset")]

    def test_a_preset_reads_dones_its_way_only_where_they_are_alone(self, tmp_path):
        arrays = {
            "rewards": np.ones((3, 2)),
            "values": np.zeros((3, 2)),
            "dones": np.array([[0, 0], [1, 0], [0, 0]]),
            "last_values": np.zeros(2),
        }
        np.savez(tmp_path / "alone.npz", **arrays)
        totals = gaecli.compute(tmp_path / "alone.npz", preset="cleanrl", gamma=1.0, lam=1.0).totals
        assert totals.terminated == 1
        assert np.load(tmp_path / "alone.npz")["advantage"][:, 0].tolist() == [1, 2, 1], (
            "row 1 begins an episode"
        )
        np.savez(tmp_path / "beside.npz", **arrays, terminated=arrays["dones"])
        gaecli.compute(tmp_path / "beside.npz", preset="cleanrl", gamma=1.0, lam=1.0)
        assert np.load(tmp_path / "beside.npz")["advantage"][:, 0].tolist() == [2, 1, 1], (
            "row 1 ends an episode"
        )

"""What `gae inspect` shows: the structure at fixed widths, and that nothing breaks at any other."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from report.examples import EncodedFile
from rich.cells import cell_len
from rich.console import Console

from gaecli.inspection import ComputePlan, EpisodeInfo, ExistingColumn, FileInfo, Inspection, StepInfo
from gaecli.presets import PRESETS
from gaecli.report.document import inspection_to_dict, to_json
from gaecli.report.inspection import render_inspection
from gaecli.settings import Settings
from gaecli.summary import BootstrapCounts, ColumnStatistics, EpisodeCounts, Spread, WarningNote

WIDTHS = (40, 60, 80, 100, 120)


def statistics(**changes) -> ColumnStatistics:
    usual = ColumnStatistics(
        count=29,
        mean=35.31,
        std=19.39,
        min=1.0,
        max=70.0,
        median=37.0,
        sample_count=29,
        histogram=(1, 0, 2, 5, 1, 0, 0, 3),
        histogram_range=(1.0, 70.0),
    )
    return replace(usual, **changes)


def info(**changes) -> FileInfo:
    usual = FileInfo(
        path="runs/ppo.parquet",
        format="parquet",
        layout="long",
        num_rows=1024,
        num_bytes=55_991,
        columns={"t": "int32", "obs": "list<float>", "r": "float", "vf_preds": "float", "done": "bool"},
        roles={"reward": "r", "value": "vf_preds", "done": "done", "step": "t"},
        role_reasons={"reward": "name", "value": "flag", "done": "case", "step": "name"},
        role_types={"reward": "float", "value": "float", "done": "bool", "step": "int32"},
        files=["runs/ppo.parquet"],
        layout_reason="`r` is one number per row",
        num_row_groups=4,
        counts=EpisodeCounts(1024, 29, 19, 6, 4),
        lengths=statistics(),
        episode_rewards=statistics(mean=-514.98, min=-1106.75),
        statistics={"reward": statistics(count=1024), "value": statistics(count=1024, mean=14.55)},
        explained_variance=0.1217,
        plan=ComputePlan(
            "write",
            {"gamma": 0.99, "lam": 0.95, "preset": "exact", "normalize": "none", "bootstrap": "zero"},
            target="runs/ppo.parquet",
            method="splice",
            new_columns=("advantage", "return"),
            bootstrapped=BootstrapCounts(next_value=6, zero=4),
        ),
    )
    return replace(usual, **changes)


def refused(**changes) -> FileInfo:
    plan = ComputePlan(
        "refuse",
        {},
        error="no value column in `dump.parquet`\n       columns there: step, prompt, score",
        hint="if it is `score`: pass `--value-column score`",
        exit_code=2,
    )
    usual = FileInfo(
        path="dump.parquet",
        format="parquet",
        layout=None,
        num_rows=8,
        num_bytes=3870,
        columns={"step": "int64", "prompt": "string", "score": "double"},
        roles={"step": "step"},
        role_reasons={"step": "name"},
        role_types={"step": "int64"},
        num_row_groups=1,
        problem=plan.error,
        hint=plan.hint,
        plan=plan,
    )
    return replace(usual, **changes)


def rendered(*infos: FileInfo, width: int = 80, encoding: str = "utf-8", found=None, **options) -> str:
    file = EncodedFile(encoding)
    inspection = Inspection(infos, gamma=0.99, **(found or {}))
    render_inspection(inspection, Console(file=file, width=width, **options))
    return file.getvalue()


AT_80 = """\
runs/ppo.parquet
  parquet · 56.0 kB · 1,024 rows in 4 row groups · 5 columns
  long layout: `r` is one number per row
  1,024 steps · 29 episodes · 19 terminated (66%) · 6 truncated (21%)
  4 open (14%)

✓ gae compute would write advantage and return · γ 0.99 · λ 0.95 · splice
6 ends bootstrapped with the next value · 4 ends bootstrapped with zero

role    column    type   why
─────────────────────────────────────────────────
reward  r         float  by its name
value   vf_preds  float  named by a flag
done    done      bool   by its name but for case
step    t         int32  by its name
other columns  obs

                   mean    std         min  median    max  histogram
───────────────────────────────────────────────────────────────────────────
episode length    35.31  19.39       1.000   37.00  70.00  ▂▂  ▄▄██▂▂    ▅▅
episode return  -515.0   19.39  -1,107       37.00  70.00  ▂▂  ▄▄██▂▂    ▅▅
reward            35.31  19.39       1.000  ≈37.00  70.00  ▂▂  ▄▄██▂▂    ▅▅
value             14.55  19.39       1.000  ≈37.00  70.00  ▂▂  ▄▄██▂▂    ▅▅
≈ from a sample of 29 rows

explained variance  0.1217  █░░░░░░░░░ · weak · of returns at γ 0.99, λ 1
"""


def test_at_80_columns():
    assert rendered(info()) == AT_80


def test_the_histogram_is_wider_where_there_is_room():
    rows = {
        width: [line for line in rendered(info(), width=width).splitlines() if "episode length" in line]
        for width in WIDTHS
    }
    bars = {width: len(re.findall("[▁▂▃▄▅▆▇█]", lines[0])) for width, lines in rows.items() if lines}
    assert 0 < bars[80] < bars[120]


@pytest.mark.turns
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "shown",
    [
        info(),
        refused(),
        info(roles={"reward": "a" * 90, "value": "v"}, role_types={"reward": "x" * 70}),
        info(columns={f"feature_{number}": "float" for number in range(200)}),
        info(path="s3://bucket/" + "deep/" * 40 + "file.parquet"),
    ],
    ids=["usual", "refused", "long names", "many columns", "long path"],
)
def test_no_line_is_wider_than_the_terminal(shown, width):
    lines = rendered(shown, width=width).splitlines()
    assert [line for line in lines if cell_len(line) > width] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_numbers_are_never_broken(width):
    text = rendered(info(), width=width)
    for number in ("-515.0", "-1,107", "35.31", "1,024 steps", "0.1217"):
        assert number in text


def test_without_unicode_and_colour():
    text = rendered(info(), encoding="ascii")
    text.encode("ascii")
    assert "lambda" in text
    assert "#" in text
    assert "\x1b" not in rendered(info(), force_terminal=True, no_color=True, color_system=None)


def test_a_refusal_shows_the_error_and_the_hint():
    text = rendered(refused())
    assert "gae compute would ask; exit code 2" in text
    assert "columns there: step, prompt, score" in text
    assert "hint: if it is `score`: pass `--value-column score`" in text
    assert "long layout" not in text


def test_what_is_there_already():
    own = ExistingColumn(
        "advantage", "float", True, {"version": "0.1.0", "settings": {"gamma": 0.9, "lam": 1.0}}
    )
    foreign = ExistingColumn("advantages", "double", False)
    text = rendered(info(existing=[own, foreign]), width=100)
    assert "already there       advantage float · gaecli 0.1.0 · γ 0.9 · λ 1" in text
    assert "advantages double · not written by gaecli" in text


def test_provenance_that_somebody_edited_does_no_harm():
    odd = ExistingColumn(
        "advantage", "float", True, {"version": 7, "settings": {"gamma": "\x1b[31m", "lam": None}}
    )
    assert "\x1b" not in rendered(info(existing=[odd]))


def test_several_files_of_one_stream_are_counted():
    text = rendered(
        info(path="runs/set", files=["runs/set/a.parquet", "runs/set/b.parquet"], data_set="LeRobot")
    )
    assert text.startswith("runs/set (2 files)\n  LeRobot · parquet")


def test_up_to_date():
    plan = replace(info().plan, action="up to date")
    assert "= gae compute would find the file up to date" in rendered(info(plan=plan))


def test_warnings_of_a_run_are_shown_beforehand():
    note = WarningNote("stored-gamma", "`gamma` in the file is 0.98", hint="pass `--gamma 0.98`")
    text = rendered(info(warnings=[note]))
    assert "! `gamma` in the file is 0.98" in text
    assert "→ pass `--gamma 0.98`" in text


EPISODES = (
    EpisodeInfo("a.parquet", 0, {"env": 0, "episode": "x"}, 37, "terminated", 37.0, 14.96),
    EpisodeInfo("a.parquet", 37, {"env": 0, "episode": "y"}, 1050, "open", -1106.75, 0.25),
)
STEPS = (
    StepInfo(0, {"reward": 1.0, "value": None, "done": False, "episode": "x"}),
    StepInfo(1, {"reward": -22.5, "value": float("nan"), "done": True, "episode": "x" * 60}),
)


class TestListings:
    def test_a_line_per_episode(self):
        text = rendered(info(episodes=EPISODES))
        assert "row  env  episode  length  end            return  mean value" in text
        assert " 37    0  y         1,050  open        -1,107" in text

    def test_files_of_one_name_are_told_apart_by_their_folders(self):
        listed = [replace(EPISODES[0], file=f"set/data/{number}/part-0.parquet") for number in (9, 10)]
        text = rendered(info(episodes=listed))
        assert "\n9/part-0.parquet" in text
        assert "\n10/part-0.parquet" in text

    def test_a_line_per_step(self):
        lines = rendered(info(head=STEPS)).splitlines()
        (heading,) = (line for line in lines if line.split() == ["row", "reward", "value", "done", "episode"])
        position = lines.index(heading)
        assert lines[position + 2].split() == ["0", "1.000", "\N{EN DASH}", "False", "x"]
        assert lines[position + 3].split()[:4] == ["1", "-22.50", "nan", "True"]

    def test_columns_that_do_not_fit_stand_below(self):
        step = StepInfo(0, {f"column {number}": 12345.678 for number in range(12)})
        lines = rendered(info(head=[step]), width=60).splitlines()
        assert max(cell_len(line) for line in lines) <= 60
        assert sum(line.startswith("row") for line in lines) > 1
        assert sum(line.count("12,346") for line in lines) == 12


class TestManyInputs:
    def test_are_a_line_each(self):
        infos = [info(path=f"runs/seed-{number}/a.parquet") for number in range(5)]
        text = rendered(*infos, refused(path="runs/dump.parquet"), width=100)
        assert text.startswith("in runs/\n")
        assert text.count("✓ would write") == 5
        assert text.count("✗ would ask") == 1
        assert "6 inputs · 284 kB · 5,120 steps · 145 episodes" in text
        assert "would ask about 1" in text

    @pytest.mark.parametrize("number", [2, 5])
    def test_explained_variance_of_all_is_that_within_them(self, number):
        spread = Spread(count=number, min=-0.71, median=0.1, max=0.27)
        infos = [info(path=f"runs/seed-{number}.parquet") for number in range(number)]
        found = {"explained_variance": 0.05, "explained_variances": spread}
        text = rendered(*infos, width=100, found=found)
        assert f"explained variance  0.05000  ░░░░░░░░░░ · weak · within {number} inputs" in text
        assert "from -0.7100 to 0.2700 · of returns at γ 0.99, λ 1" in text

    @pytest.mark.parametrize("width", WIDTHS)
    def test_fit_any_width(self, width):
        infos = [info(path=f"runs/seed-{number}/rollouts-of-something.parquet") for number in range(60)]
        lines = rendered(*infos, width=width).splitlines()
        assert [line for line in lines if cell_len(line) > width] == []
        assert any("more input" in line for line in lines)


def test_the_document_holds_everything():
    inspection = Inspection([info(head=STEPS, episodes=EPISODES)], gamma=0.99)
    document = inspection_to_dict(inspection)
    text = to_json(document)
    assert "NaN" not in text
    (file,) = document["files"]
    assert file["counts"]["episodes"] == 29
    assert file["episodes"][1]["total_reward"] == -1106.75
    assert file["head"][1]["cells"]["value"] is None
    assert document["exit_code"] == 0


def test_a_name_cannot_forge_a_line():
    text = rendered(info(path="a\nb\x1b[31m.parquet", columns={"x\ny": "float"}))
    assert "\x1b" not in text
    assert "a\\nb" in text


def test_the_console_is_not_asked_for_anything_but_width_and_encoding():
    buffer = io.StringIO()
    render_inspection(Inspection([info()], 0.99), Console(file=buffer, width=80, record=True))
    assert buffer.getvalue()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"truncation": "zero", "on_nan": "drop-episode"},
            "λ 0.95 · --truncation zero · --on-nan drop-episode · splice",
        ),
        ({"done_at": "start", "join": False}, "λ 0.95 · --done-at start · --no-join · splice"),
        ({"mask_mode": "keep", "masked_reward": "move"}, "--mask-mode keep · --masked-reward move"),
        ({"preset": "torchrl", "bootstrap": "current"}, "preset torchrl · bootstrap current · splice"),
        (
            {"preset": "rsl-rl", "truncation": "exact"},
            "preset rsl-rl · normalize all · --truncation exact · splice",
        ),
    ],
)
def test_the_plan_tells_the_flags_that_were_given(given: dict, told: str):
    settings = Settings.from_preset(
        str(given.get("preset", "exact")),
        **{name: value for name, value in given.items() if name != "preset"},
    ).to_dict()
    plan = ComputePlan("write", settings, method="splice", new_columns=("advantage",))
    assert told in rendered(info(plan=plan), width=200)


def test_settings_that_a_preset_has_by_itself_are_not_told():
    for preset in PRESETS:
        if PRESETS[preset].truncation != "ask":
            plan = ComputePlan("write", Settings.from_preset(preset).to_dict(), new_columns=("advantage",))
            assert "--" not in rendered(info(plan=plan), width=200).splitlines()[-1]

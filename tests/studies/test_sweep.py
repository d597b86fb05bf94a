"""`gae sweep`: every number of the grid against a plain loop per setting, and the columns it writes."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline.running import small_blocks

import gaecli
from gaecli.cli.values import parse_grid
from gaecli.commands.sweep import SweepOptions, sweep
from gaecli.errors import UsageError
from gaecli.estimator_kinds import ESTIMATORS
from gaecli.settings import Settings
from gaecli.studies.sweep_points import grid_of

GAMMAS, LAMS = [0.9, 0.99], [0.0, 0.5, 0.95, 1.0]


def plain_gae(rewards, values, following, terminated, cut, gamma, lam):
    """Sequential, one row at a time."""
    advantages = np.zeros(len(rewards))
    running = 0.0
    for t in reversed(range(len(rewards))):
        beyond = 0.0 if terminated[t] else following[t]
        running = rewards[t] + gamma * beyond - values[t] + (0.0 if cut[t] else gamma * lam * running)
        advantages[t] = running
    return advantages


@pytest.fixture(scope="module")
def rollout(tmp_path_factory):
    """20,000 rows, of which the blocks and row groups cut most episodes; some end in every way."""
    random = np.random.default_rng(11)
    num_rows = 20_000
    ends = random.random(num_rows) < 0.002
    ends[-1] = False
    terminated = ends & (random.random(num_rows) < 0.5)
    truncated = ends & ~terminated
    rewards, values = random.normal(size=num_rows), random.normal(1.0, size=num_rows)
    next_values = np.append(values[1:], 0.7)
    next_values[truncated] = random.normal(size=truncated.sum())
    cut = ends.copy()
    cut[-1] = True
    path = tmp_path_factory.mktemp("sweep") / "rollout.parquet"
    columns = {
        "reward": rewards,
        "value": values,
        "next_value": next_values,
        "terminated": terminated,
        "truncated": truncated,
    }
    pq.write_table(pa.table(columns), path, row_group_size=3_000)

    def oracle(gamma, lam):
        return plain_gae(rewards, values, next_values, terminated, cut, gamma, lam)

    return path, values, oracle


@pytest.mark.few("many blocks")
@pytest.mark.parametrize("memory", [1 << 30, 1 << 20], ids=["one block", "many blocks"])
def test_every_number_is_that_of_a_plain_loop(rollout, memory):
    path, values, oracle = rollout
    found = sweep([path], GAMMAS, LAMS, options=SweepOptions(memory_bytes=memory))
    assert [(point.gamma, point.lam) for point in found.points] == [(g, lam) for g in GAMMAS for lam in LAMS]
    reference = np.sign(oracle(0.99, 0.95))
    for point in found.points:
        advantages, base = oracle(point.gamma, point.lam), oracle(point.gamma, 1.0)
        returns = advantages + values
        exact = {
            "mean": advantages.mean(),
            "std": advantages.std(ddof=1),
            "variance": advantages.var(ddof=1),
            "explained_variance": 1 - advantages.var() / returns.var(),
            "bias": math.sqrt(np.square(advantages - base).mean()) / base.std(ddof=1),
            "sign_agreement": (np.sign(advantages) == reference).mean(),
        }
        for name, number in exact.items():
            assert getattr(point, name) == pytest.approx(number, rel=1e-9, abs=1e-12), (point, name)
        decay = point.gamma * point.lam
        assert point.effective_horizon == pytest.approx(1 / (1 - decay))
    assert found.counts.steps == len(values)


@pytest.mark.parametrize(
    ("gammas", "lams"),
    [([0.9, 0.95, 0.99], [0.5, 0.9]), ([0.99, 1.0], [step / 29 for step in range(30)])],
    ids=["several γ in a tile, λ = 1 apart", "several tiles of one γ"],
)
def test_every_gamma_is_as_if_it_were_alone(rollout, gammas, lams):
    path, *_ = rollout
    together = sweep([path], gammas, lams).points
    alone = [point for gamma in gammas for point in sweep([path], [gamma], lams).points]
    for one, other in zip(together, alone, strict=True):
        for name, number in vars(one).items():
            # The same numbers, summed up in tiles of another width.
            expected = getattr(other, name)
            is_number = isinstance(expected, float) and math.isfinite(expected)
            assert number == (pytest.approx(expected, rel=1e-9) if is_number else expected)


def test_points_that_are_looked_at_together_are_as_many_of_each_gamma():
    for gammas, lams in (
        ([0.9, 0.95, 0.99], 2),
        ([0.9], 60),
        ([0.9, 0.95], 24),
        ([0.5 + n / 40 for n in range(20)], 3),
    ):
        points = grid_of(Settings(), gammas, [step / 60 for step in range(lams)])
        seen = []
        for launch in points.launches:
            each = np.array(launch.indices).reshape(launch.num_gammas, -1)
            for row in each.tolist():
                assert len({points.points[index].gamma for index in row}) == 1
                assert points.points[row[0]].lam == 1.0
            assert launch.num_bases == launch.num_gammas
            assert len(launch.indices) <= 25
            seen += launch.indices[launch.is_repeated :]
        assert sorted(seen) == list(range(len(points.points)))


def test_the_horizon_of_no_discount_is_infinite(rollout):
    assert sweep([rollout[0]], [1.0], [1.0]).points[0].effective_horizon is None


def test_bias_is_nothing_at_lambda_one_and_signs_agree_at_the_reference(rollout):
    settings = Settings(gamma=0.9, lam=0.5)
    points = {(p.gamma, p.lam): p for p in sweep([rollout[0]], GAMMAS, LAMS, settings).points}
    assert points[0.99, 1.0].bias == points[0.9, 1.0].bias == 0.0
    assert points[0.9, 0.5].sign_agreement == 1.0
    assert points[0.99, 0.95].sign_agreement < 1.0


@pytest.mark.few(2)
@pytest.mark.parametrize("preset", ["cleanrl", "finite-horizon", "brax", "skrl-2.0"])
def test_presets_sweep_as_they_compute(rollout, preset, tmp_path):
    """The columns of a sweep are those of `compute` with the same γ and λ, whatever the recursion."""
    path, *_ = rollout
    settings = Settings.from_preset(preset, normalize="none")
    out = tmp_path / "swept.parquet"
    sweep([path], [0.95], [0.3, 0.8], settings, SweepOptions(output=out))
    swept = pq.read_table(out)
    for lam in (0.3, 0.8):
        single = tmp_path / f"single{lam}.parquet"
        gaecli.compute(path, single, preset=preset, gamma=0.95, lam=lam, normalize="none")
        expected = pq.read_table(single)["advantage"].to_numpy()
        np.testing.assert_allclose(
            swept[f"advantage_g0.95_l{lam}"].to_numpy(), expected, rtol=1e-6, atol=1e-6
        )


@pytest.mark.turns
@pytest.mark.parametrize("name", ["cartpole.parquet", "cartpole_TN.npz", "pendulum.parquet"])
@pytest.mark.parametrize("memory", [1 << 30, 1 << 20])
def test_columns_are_those_of_compute_and_all_else_is_kept(sample_data, tmp_path, name, memory):
    out = tmp_path / name
    found = sweep([sample_data / name], GAMMAS, LAMS, options=SweepOptions(output=out, memory_bytes=memory))
    assert found.files[0].output == str(out)
    single = tmp_path / "single" / name
    single.parent.mkdir()
    gaecli.compute(sample_data / name, single, gamma=0.9, lam=0.5)

    def load(path):
        if name.endswith("npz"):
            return dict(np.load(path))
        table = pq.read_table(path)
        return {name: table[name].to_numpy() for name in table.column_names}

    swept, original = load(out), load(sample_data / name)
    np.testing.assert_array_equal(swept["advantage_g0.9_l0.5"], load(single)["advantage"])
    assert [column for column in swept if column not in original] == [point.column for point in found.points]
    assert len(found.points) == 8


def test_what_was_written_can_be_written_again(sample_data, tmp_path):
    out = tmp_path / "out.parquet"
    for lams in ([0.5], [0.5, 0.9]):
        sweep([sample_data / "cartpole.parquet"], [0.99], lams, options=SweepOptions(output=out))
    assert [n for n in pq.read_schema(out).names if n.startswith("advantage")] == [
        "advantage_g0.99_l0.5",
        "advantage_g0.99_l0.9",
    ]
    foreign = tmp_path / "foreign.parquet"
    foreign.write_bytes((sample_data / "cartpole.parquet").read_bytes())
    refused = sweep([sample_data / "pendulum.parquet"], [0.99], [0.5], options=SweepOptions(output=foreign))
    assert refused.exit_code == 2
    assert foreign.read_bytes() == (sample_data / "cartpole.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["foreign.parquet", "out.parquet"]


def test_a_file_in_the_way_that_is_no_rollout_file_stays(sample_data, tmp_path):
    out = tmp_path / "out.parquet"
    out.write_bytes(b"notes")
    refused = sweep([sample_data / "cartpole.parquet"], [0.99], [0.5], options=SweepOptions(output=out))
    assert refused.exit_code == 2
    assert refused.files[0].error == f"`{out}` exists"
    assert out.read_bytes() == b"notes"


def test_a_foreign_column_is_replaced_with_leave_only(sample_data, tmp_path):
    table = pq.read_table(sample_data / "cartpole.parquet")
    foreign = table.append_column("advantage_g0.99_l0.5", pa.array(np.zeros(table.num_rows)))
    pq.write_table(foreign, tmp_path / "in.parquet")
    args = ([tmp_path / "in.parquet"], [0.99], [0.5], None)
    refused = sweep(*args, SweepOptions(output=tmp_path / "out.parquet"))
    assert (refused.exit_code, (tmp_path / "out.parquet").exists()) == (2, False)
    assert "`advantage_g0.99_l0.5`" in refused.files[0].error
    sweep(*args, SweepOptions(output=tmp_path / "out.parquet", overwrite=True))
    assert pq.read_table(tmp_path / "out.parquet")["advantage_g0.99_l0.5"].to_numpy().any()


def test_what_was_begun_of_a_stream_that_fails_is_gone(sample_data, tmp_path):
    """The first of two shards was begun when the second turns out to be in the way."""
    shards = [tmp_path / f"part-{index:05d}-of-00002.parquet" for index in range(2)]
    table = pq.read_table(sample_data / "cartpole.parquet")
    for index, shard in enumerate(shards):
        pq.write_table(table.slice(index * 512, 512), shard)
    out = tmp_path / "out"
    out.mkdir()
    (out / shards[1].name).write_bytes(shards[1].read_bytes())
    refused = sweep(shards, [0.99], [0.5], None, SweepOptions(output=out))
    assert refused.exit_code == 2
    assert [path.name for path in out.iterdir()] == [shards[1].name]
    written = sweep(shards, [0.99], [0.5], None, SweepOptions(output=out, overwrite=True))
    assert written.exit_code == 0
    swept = np.concatenate([pq.read_table(out / shard.name)["advantage_g0.99_l0.5"] for shard in shards])
    gaecli.compute(sample_data / "cartpole.parquet", tmp_path / "whole.parquet", lam=0.5)
    np.testing.assert_array_equal(swept, pq.read_table(tmp_path / "whole.parquet")["advantage"])


def test_values_that_are_made_up_are_told(sample_data, tmp_path):
    table = pq.read_table(sample_data / "cartpole.parquet").drop_columns(["next_value"])
    pq.write_table(table, tmp_path / "bare.parquet")
    found = sweep([tmp_path / "bare.parquet"], [0.99], [0.5])
    assert [(note.code, note.count) for note in found.warnings] == [("bootstrap-zero", 10)]
    assert not sweep([sample_data / "cartpole.parquet"], [0.99], [0.5]).warnings


def test_a_file_that_fails_leaves_the_others(sample_data, tmp_path):
    bad = tmp_path / "bad.parquet"
    pq.write_table(pa.table({"reward": [1.0, math.nan], "value": [0.0, 0.0], "done": [False, True]}), bad)
    found = sweep([bad, sample_data / "cartpole.parquet"], [0.99], [0.95])
    alone = sweep([sample_data / "cartpole.parquet"], [0.99], [0.95])
    assert found.points == alone.points
    assert found.exit_code == 3
    assert "NaN" in (found.files[0].error or "")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0:1:0.05", [round(0.05 * i, 2) for i in range(21)]),
        ("0.95,0.99", [0.95, 0.99]),
        ("0:0.3:0.1,1", [0.0, 0.1, 0.2, 0.3, 1.0]),
        ("1", [1.0]),
    ],
)
def test_grids_are_as_one_would_write_them(text, numbers):
    assert parse_grid(text, "--lam") == numbers


@pytest.mark.parametrize("text", ["", "a", "0:1", "0:1:0", "1:0:0.1", "0:1:0.0000001"])
def test_grids_that_mean_nothing_are_refused(text):
    with pytest.raises(UsageError, match="--lam"):
        parse_grid(text, "--lam")


@pytest.mark.parametrize("text", ["0:2:0.5", "-0.1", "nan"])
@pytest.mark.parametrize("flag", ["--gamma", "--lam"])
def test_what_lies_outside_of_0_and_1_is_refused_from_python_as_well(sample_data, flag, text):
    grid = {"gamma": [0.9], "lam": [0.9], flag.strip("-"): parse_grid(text, flag)}
    with pytest.raises(UsageError, match=rf"`{flag}` holds .*; it must lie in \[0, 1\]"):
        gaecli.sweep(sample_data / "cartpole.parquet", **grid)


class TestCommand:
    def test_json(self, run_gae, sample_data):
        path = sample_data / "cartpole.parquet"
        result = run_gae("sweep", path, "--gamma", "0.95,1", "--lam", "0:1:0.5", "--json")
        document = json.loads(result.stdout)
        assert len(document["points"]) == 6
        assert document["reference"] == {"gamma": 0.99, "lam": 0.95}
        assert document["points"][-1]["effective_horizon"] is None

    @pytest.mark.few(2)
    @pytest.mark.parametrize(
        ("columns", "more"),
        [
            ("60", {}),
            pytest.param("80", {}, marks=pytest.mark.slow),
            ("120", {}),
            ("60", {"PYTHONIOENCODING": "ascii"}),
        ],
    )
    def test_the_page_fits(self, run_gae, sample_data, columns, more):
        env = {"COLUMNS": columns, **more}
        args = ("--gamma", "0.9,0.95,0.99", "--lam", "0:1:0.05")
        result = run_gae("sweep", sample_data / "pendulum.parquet", *args, env=env)
        assert result.returncode == 0, result.stderr
        assert max(map(len, result.stdout.splitlines())) <= int(columns)

    def test_a_map_wider_than_the_page_goes_on_in_panels(self, run_gae, sample_data):
        args = ("sweep", sample_data / "pendulum.parquet", "--gamma", "0.5:0.95:0.03", "--lam", "0:0.9:0.06")
        result = run_gae(*args, env={"COLUMNS": "80"})
        assert result.returncode == 0, result.stderr
        assert max(map(len, result.stdout.splitlines())) <= 80
        assert result.stdout.count("λ \\ γ") > 1

    def test_colour_says_no_more_than_the_digits(self, run_gae, sample_data):
        args = ("sweep", sample_data / "cartpole.parquet", "--lam", "0,1")
        plain = run_gae(*args).stdout
        coloured = run_gae(*args, env={"FORCE_COLOR": "1", "COLORTERM": "truecolor", "TERM": "xterm"}).stdout
        assert "\x1b[" in coloured
        assert "\x1b[" not in plain
        assert "0.66█" in plain


#: λ of those that have one; what else they read is V alone.
KINDS = {"gae": [0.8], "td-lambda": [0.8], "td0": [], "upgo": [], "mc": []}


@pytest.mark.few(2)
@pytest.mark.parametrize("block_rows", [1, 1000])
@pytest.mark.parametrize("column", ["bootstrap_value", "next_value"])
@pytest.mark.parametrize("estimator", KINDS)
def test_a_value_beyond_an_open_end_enters_once(estimator: str, column: str, block_rows: int) -> None:
    """Two episodes that merely stop, with V of what would have come; `gae compute` is the measure."""
    kind, lam = ESTIMATORS[estimator].outputs[0], KINDS[estimator]
    columns = {
        "reward": [1.0, 2.0, 3.0, 4.0],
        "value": [0.5, 0.1, 0.2, 0.3],
        "episode_id": [0, 0, 1, 1],
        column: [None, 10.0, None, 20.0],
    }
    with small_blocks(block_rows) as folder:
        path, swept = folder / "r.parquet", folder / "swept.parquet"
        pq.write_table(pa.table(columns), path)
        settings = {"estimator": estimator, "done_column": "none"}
        (point,) = gaecli.sweep(path, [0.5], lam, swept, **settings).points
        gaecli.compute(path, gamma=0.5, **settings, **({"lam": lam[0]} if lam else {}))
        assert pq.read_table(swept)[point.column].to_pylist() == pq.read_table(path)[kind].to_pylist()
        # Of the last step of each: r + γ V', and less its own V where that is an advantage.
        last = [2.0 + 5.0, 4.0 + 10.0] if kind == "return" else [2.0 + 5.0 - 0.1, 4.0 + 10.0 - 0.3]
        assert pq.read_table(swept)[point.column].to_pylist()[1::2] == pytest.approx(last)

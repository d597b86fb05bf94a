"""Every sample file gives the numbers that its own library wrote, or is refused and left as it was.

`data/samples/` holds most of them; a folder `shared/samples` beside the checkout, where there is one, all.
Expected numbers are float32 library output (SB3, verl) or a plain float64 recursion over the file's cells.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

OWN = Path(__file__).parents[1] / "data" / "samples"
SHARED = Path(__file__).parents[3] / "shared" / "samples"
ROOTS = [pytest.param(OWN, id="own")]
if SHARED.is_dir():
    ROOTS.append(pytest.param(SHARED, id="shared"))

#: float32 output of another library; and float64 numbers rounded to float32.
LIBRARY = {"rtol": 1e-5, "atol": 1e-4}
RECURSION = {"rtol": 1e-6, "atol": 1e-6}

Run = Callable[..., Any]


@pytest.fixture(params=ROOTS)
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Path]:
    """sample("hf/sharded") is a copy that may be written to; skips what this root does not have."""

    def copy(name: str) -> Path:
        source = request.param / name
        if not source.exists():
            pytest.skip(f"no {name} here")
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file():
            shutil.copyfile(source, target)
        else:
            shutil.copytree(source, target, copy_function=shutil.copyfile)
            for folder in [target, *target.rglob("*")]:
                folder.chmod(0o755 if folder.is_dir() else 0o644)
        return target

    copy.root = request.param  # type: ignore[attr-defined]
    return copy


def expected(sample: Any, name: str) -> pa.Table:
    return pq.read_table(sample.root / name)


def in_order(table: pa.Table, *keys: str) -> pa.Table:
    return table.sort_by([(key, "ascending") for key in keys])


def assert_columns(
    actual: pa.Table, wanted: pa.Table, tolerance: dict[str, float], names: tuple[str, ...]
) -> None:
    assert actual.num_rows == wanted.num_rows
    for name in names:
        np.testing.assert_allclose(flat(actual, name), flat(wanted, name), **tolerance, err_msg=name)


def flat(table: pa.Table, name: str) -> np.ndarray:
    column = table.column(name).combine_chunks()
    while pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = column.flatten()
    return column.to_numpy(zero_copy_only=False)


def compute(run_gae: Run, *args: Any) -> dict[str, Any]:
    done = run_gae("compute", *args, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def digests(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


BOTH = ("advantage", "return")
PENDULUM = ("-g", "0.98", "-l", "0.9")


@pytest.mark.parametrize("name", ["sb3_pendulum_long", "sb3_pendulum_long_timemajor"])
def test_sb3_rows_give_its_own_advantages_in_any_order(sample: Any, run_gae: Run, name: str) -> None:
    path = sample(f"sb3/{name}.parquet")
    before = pq.read_table(path)
    summary = compute(run_gae, path, *PENDULUM)
    after = pq.read_table(path)
    assert after.select(before.column_names).equals(before)  # in the order of the file
    keys = ("env_id", "t")
    wanted = in_order(expected(sample, "sb3/sb3_pendulum_expected.parquet"), *keys)
    assert_columns(in_order(after, *keys), wanted, LIBRARY, BOTH)
    totals = summary["totals"]
    assert (totals["episodes"], totals["truncated"], totals["open"]) == (9, 9, 0)


def test_verl_whitening_is_normalisation_over_the_kept_tokens(sample: Any, run_gae: Run) -> None:
    path = sample("rlhf/verl_like_ragged.parquet")
    compute(run_gae, path, "-g", "1.0", "-l", "0.95", "--normalize", "all", "--norm-floor", "rsqrt")
    table = pq.read_table(path)
    mask = flat(table, "response_mask") == 1
    wanted = expected(sample, "rlhf/verl_expected_g1.0_l0.95.parquet")
    whitened = flat(wanted, "advantages_whitened")[mask]
    np.testing.assert_allclose(flat(table, "advantage")[mask], whitened, **LIBRARY)


@pytest.mark.parametrize("name", ["sb3_pendulum_TN", "sb3_pendulum_TN_raw"])
def test_sb3_buffers_give_its_own_advantages(sample: Any, run_gae: Run, name: str) -> None:
    path = sample(f"sb3/{name}.npz")
    summary = compute(run_gae, path, *PENDULUM)
    table = in_order(expected(sample, "sb3/sb3_pendulum_expected.parquet"), "env_id", "t")
    with np.load(path) as arrays:
        for column in BOTH:
            wanted = table.column(column).to_numpy().reshape(3, 250).T
            np.testing.assert_allclose(arrays[column], wanted, **LIBRARY)
    if name == "sb3_pendulum_TN":  # its rewards hold γ·V at time limits already
        assert summary["totals"]["terminated"] == 9


def test_a_lerobot_v3_set_gets_columns_and_features(sample: Any, run_gae: Run) -> None:
    root = sample("lerobot/v30_state")
    meta = digests(root / "meta")
    summary = compute(run_gae, root)
    files = sorted((root / "data").rglob("*.parquet"))
    table = pa.concat_tables(pq.read_table(file) for file in files)
    assert_columns(
        in_order(table, "index"), expected(sample, "lerobot/v30_state_expected.parquet"), RECURSION, BOTH
    )
    info = json.loads((root / "meta/info.json").read_text())
    assert info["features"]["advantage"] == {"dtype": "float32", "shape": [1], "names": None}
    assert info["features"]["return"] == info["features"]["advantage"]
    changed = {name for name, digest in digests(root / "meta").items() if meta[name] != digest}
    assert changed == {str(root / "meta/info.json")}
    assert summary["totals"]["episodes"] == 50


def test_a_lerobot_v2_set_gives_the_expected_numbers(sample: Any, run_gae: Run) -> None:
    root = sample("lerobot/v21_state")
    compute(run_gae, root)
    table = pa.concat_tables(pq.read_table(file) for file in (root / "data").rglob("*.parquet"))
    wanted = expected(sample, "lerobot/v21_state_expected.parquet")
    keys = ("episode_index", "frame_index")
    assert_columns(in_order(table, *keys), in_order(wanted, *keys), RECURSION, BOTH)


def minari_episodes(root: Path) -> pa.Table:
    tables = []
    for folder in (root / "data").iterdir():
        if folder.is_dir():
            table = pq.read_table(folder / "part-0.parquet")
            advantages = table.column("advantage")
            assert [value.is_valid for value in advantages] == [True] * (len(table) - 1) + [False]
            steps = table.slice(0, len(table) - 1)
            tables.append(
                pa.table(
                    {
                        "episode": [int(folder.name)] * len(steps),
                        "step": list(range(len(steps))),
                        "advantage": steps.column("advantage"),
                        "return": steps.column("return"),
                    }
                )
            )
    return in_order(pa.concat_tables(tables), "episode", "step")


def test_minari_bootstraps_from_the_padding_row(sample: Any, run_gae: Run) -> None:
    root = sample("minari/cartpole/parquet-v0")
    summary = compute(run_gae, root, "--value-column", "infos.value")
    wanted = expected(sample, "minari/cartpole_parquet_expected.parquet")
    assert_columns(minari_episodes(root), in_order(wanted, "episode", "step"), RECURSION, ("advantage",))
    totals = summary["totals"]
    assert (totals["steps"], totals["terminated"], totals["truncated"]) == (451, 1, 11)
    assert summary["bootstrapped"] == {"next_value": 11, "zero": 0, "current": 0}


def test_minari_hdf5_gives_the_same_numbers(sample: Any, run_gae: Run) -> None:
    h5py = pytest.importorskip("h5py")
    root = sample("minari/cartpole/hdf5-v0")
    compute(run_gae, root, "--value-column", "infos.value")
    wanted = in_order(expected(sample, "minari/cartpole_parquet_expected.parquet"), "episode", "step")
    with h5py.File(root / "data/main_data.hdf5") as file:
        found = np.concatenate([file[f"episode_{number}/advantage"][()] for number in range(12)])
    np.testing.assert_allclose(found, flat(wanted, "advantage"), rtol=1e-5, atol=1e-5)


def test_verl_rows_give_its_own_advantages_where_the_mask_is_one(sample: Any, run_gae: Run) -> None:
    path = sample("rlhf/verl_like_ragged.parquet")
    summary = compute(run_gae, path, "-g", "1.0", "-l", "0.95")
    table = pq.read_table(path)
    wanted = expected(sample, "rlhf/verl_expected_g1.0_l0.95.parquet")
    mask = flat(table, "response_mask") == 1
    for ours, theirs in (("advantage", "advantages_raw"), ("return", "returns")):
        np.testing.assert_allclose(flat(table, ours)[mask], flat(wanted, theirs)[mask], **LIBRARY)
    assert [note["code"] for note in summary["warnings"]] == ["bootstrap-zero"]
    assert summary["bootstrapped"]["zero"] == 64


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("rlhf/completions_00003.parquet", "no reward column"),
        ("rllib/columns", "no value column"),
    ],
)
def test_what_has_no_critic_is_refused(sample: Any, run_gae: Run, name: str, problem: str) -> None:
    path = sample(name)
    before = digests(path)
    done = run_gae("compute", path)
    assert done.returncode == 2
    assert problem in done.stderr
    assert digests(path) == before


def test_rllib_rows_that_a_later_run_repeats_are_refused(sample: Any, run_gae: Run) -> None:
    root = sample("rllib/columns")
    for path in root.rglob("*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.append_column("vf_preds", pa.array([0.5] * len(table))), path)
    before = digests(root)
    done = run_gae("compute", root)
    assert done.returncode == 3, done.stderr
    assert "same episode id" in done.stderr
    assert digests(root) == before


def test_shards_are_one_stream(sample: Any, run_gae: Run) -> None:
    root = sample("hf/sharded")
    summary = compute(run_gae, root)
    files = sorted((root / "data").glob("*.parquet"))
    assert [pq.read_metadata(file).num_rows for file in files] == [342, 341, 341]
    table = pa.concat_tables(pq.read_table(file) for file in files)
    assert_columns(table, expected(sample, "hf/sharded_expected.parquet"), LIBRARY, BOTH)
    features = json.loads(pq.read_metadata(files[0]).metadata[b"huggingface"])["info"]["features"]
    assert features["advantage"] == {"dtype": "float32", "_type": "Value"}
    assert summary["totals"]["open"] == 4


def test_ragged_lists_keep_their_type_and_lengths(sample: Any, run_gae: Run) -> None:
    path = sample("misc/ragged_episodes.parquet")
    compute(run_gae, path)
    table = pq.read_table(path)
    wanted = expected(sample, "misc/ragged_episodes_expected.parquet")
    assert table.schema.field("advantage").type == pa.large_list(pa.float32())
    assert_columns(in_order(table, "episode_id"), in_order(wanted, "episode_id"), LIBRARY, BOTH)


def test_the_torture_file_gives_the_expected_numbers(sample: Any, run_gae: Run) -> None:
    path = sample("misc/torture_zstd.parquet")
    before = pq.read_table(path)
    compute(run_gae, path)
    after = pq.read_table(path)
    assert after.select(before.column_names).equals(before)
    names = after.column("episode_id").cast(pa.string())  # a dictionary, which cannot be sorted by
    after = after.select(["t", *BOTH]).append_column("episode_id", names)
    wanted = expected(sample, "misc/torture_zstd_expected.parquet")
    wanted = wanted.set_column(0, "episode_id", wanted.column("episode_id").cast(pa.string()))
    keys = ("episode_id", "t")
    assert_columns(in_order(after, *keys), in_order(wanted, *keys), RECURSION, BOTH)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lerobot/v30_state", ()),
        ("minari/cartpole/parquet-v0", ("--value-column", "infos.value")),
        ("hf/sharded", ()),
    ],
)
def test_a_second_run_finds_nothing_to_do(sample: Any, run_gae: Run, name: str, options: Any) -> None:
    root = sample(name)
    compute(run_gae, root, *options)
    before = digests(root)
    summary = compute(run_gae, root, *options)
    assert {file["status"] for file in summary["files"]} == {"up to date"}
    assert digests(root) == before

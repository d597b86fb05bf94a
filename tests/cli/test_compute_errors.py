"""What a user can do wrong: one message, its exit code, and every file as it was."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.rollout_files import LENGTH, ROWS, columns, document_of, ok, write, write_npz

import gaecli

#: error, more lines under its text, then perhaps an empty line and a hint of one or more lines.
SHAPE = re.compile(r"error: [^\n]+\n(?: {7}[^\n]+\n)*(?:\nhint: [^\n]+\n(?: {6}[^\n]+\n)*)?")


@pytest.fixture
def fails(run_gae, tmp_path):
    """Run a command that has to fail; its message. Nothing in the folder may change."""

    def run(*args: object, code: int, says: str, hints: str = "", cwd: Path | None = None) -> str:
        before = contents(tmp_path)
        result = run_gae("compute", *args, cwd=cwd)
        assert result.returncode == code, result.stderr
        assert contents(tmp_path) == before
        assert result.stdout == ""
        assert SHAPE.fullmatch(result.stderr), result.stderr
        message, _, hint = result.stderr.partition("\nhint: ")
        assert says in message, result.stderr
        assert hints in hint, result.stderr
        return result.stderr

    return run


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(entry.relative_to(folder)): (entry.read_bytes(), entry.stat().st_mtime_ns)
        for entry in folder.rglob("*")
        if entry.is_file()
    }


# Usage: 2


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--gamma", "1.5"), "`--gamma` is 1.5; it must lie in [0, 1]"),
        (("--gamma", "nan"), "`--gamma` is nan"),
        (("--gamma", "abc"), "`--gamma` is `abc`; it must be a number"),
        (("--norm-ddof", "x"), "`--norm-ddof` is `x`; it must be a whole number"),
        (("--jobs", "1.5"), "`--jobs` is `1.5`; it must be a whole number"),
        (("--advantage-column", ""), "`--advantage-column` is an empty name"),
        (("--return-column", ""), "`--return-column` is an empty name"),
        (("--lam", "-0.1"), "`--lam` is -0.1"),
        (
            ("--normalize", "everything"),
            "`--normalize` is `everything`; it must be one of none, all, file, episode",
        ),
        (("--norm-ddof", "2"), "`--norm-ddof` is 2"),
        (("--norm-eps", "inf"), "`--norm-eps` is inf"),
        (("--norm-floor", "none"), "`--norm-floor` is `none`"),
        (("--normalize", "episode", "--normalize-by", "reward"), "two different groupings"),
        (("--normalize-by", "nobody"), "column `nobody` not found"),
        (("--memory", "lots"), "`--memory` is `lots`"),
        (("--memory", "1e400"), "`--memory` is `1e400`"),
        (("--memory", "1KiB"), "must be 1MiB at least"),
        (("--jobs", "0"), "`--jobs` is 0"),
        (("--bootstrap", "guess"), "`--bootstrap` is `guess`"),
        (("--done-at", "middle"), "`--done-at` is `middle`"),
        (("--layout", "time-major"), "is not `time-major`"),
        (("--precision", "half"), "`--precision` is `half`"),
        (("--on-nan", "ignore"), "`--on-nan` is `ignore`"),
        (("--device", "tpu"), "`--device` is `tpu`"),
        (("--advantage-column", "x", "--return-column", "x"), "need different names"),
        (("--advantage-column", "value", "--overwrite"), "`value` is the value of"),
        (("--reward-column", "value", "--value-column", "value"), "named for rewards and for values"),
        (("-o", "out.h5"), "`.h5` is the suffix of no format that is written"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, tuple) else "",
)
def test_flags_that_make_no_sense(fails, tmp_path, flags, says):
    write(tmp_path / "r.parquet")
    fails("r.parquet", *flags, code=2, says=says, cwd=tmp_path)


def test_a_flag_that_is_none_and_a_number_that_is_none(run_gae, tmp_path):
    path = write(tmp_path / "r.parquet")
    for flags in (("--gama", "0.9"), ("--gamma", "high"), ("--jobs", "many")):
        result = run_gae("compute", path, *flags)
        assert result.returncode == 2
        assert result.stdout == ""
        assert flags[0].strip("-") in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("given", ["nope", "zzzzzz"])
def test_a_preset_that_there_is_not(fails, tmp_path, given):
    path = write(tmp_path / "r.parquet")
    fails(path, "--preset", given, code=2, says=f"no preset `{given}`", hints="`gae presets` lists them")


def test_a_file_that_is_named_as_a_directory(fails, tmp_path):
    path = write(tmp_path / "r.parquet")
    fails(path, "-o", f"{path}/", code=2, says=f"`--output {path}/` is a file, but has a `/` at its end")


def test_an_end_without_a_value_is_told_without_a_count(fails, tmp_path):
    """There may be more in blocks that were not looked at, and blocks are as large as `--memory` has them."""
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"reward": [1.0] * 3, "value": [1.0] * 3, "episode": [0, 1, 2]}), path)
    says = f"ends at row 0 of `{path}` has neither a terminal flag nor a next value\n"
    fails(path, "--bootstrap", "error", "--done-column", "none", code=3, says=says)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("rolouts.parquet", "rollouts.parquet"),
        ("rollouts", "rollouts.parquet"),
        ("rusn/part_07.parquet", "runs/part_07.parquet"),
        ("rusn", "runs"),
    ],
)
def test_a_path_that_is_spelt_like_one_that_is_there(fails, tmp_path, given, meant):
    (tmp_path / "runs").mkdir()
    for name in ("rollouts.parquet", "runs/part_07.parquet"):
        write(tmp_path / name)
    fails(given, code=4, says=f"`{given}` does not exist", hints=f"did you mean `{meant}`?", cwd=tmp_path)


@pytest.mark.parametrize("given", ["part_08.parquet", "test.parquet", "rusn/part_07.parquet", "run.parquet"])
def test_a_path_like_which_none_is_there(run_gae, tmp_path, given):
    """Another number is another file, and that both are Parquet files makes no two alike."""
    write(tmp_path / "part_07.parquet")
    (tmp_path / "run").mkdir()
    result = run_gae("compute", given, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (4, f"error: `{given}` does not exist\n")


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        (("--value-column", "vlaue"), "pass `--value-column value`"),
        (("--value-column", "val"), "pass `--value-column value`"),
        (
            ("--normalize-by", "task"),
            "name one of them with `--normalize-by`, the column whose values are the groups",
        ),
        (
            ("--force-positive", "intervention", "--label-threshold", "0"),
            "name one of them with `--force-positive`",
        ),
        (("--stream", "a=rewrad,value"), "in `--stream a=…` name `reward` instead"),
        (
            ("--stream", "a=reward,value", "--stream", "b=int_reward,value"),
            "in `--stream b=…` name one of them instead",
        ),
    ],
    ids=" ".join,
)
def test_a_column_that_is_not_there(fails, tmp_path, flags, hint):
    """What is called otherwise is not proposed, nor what another stream has."""
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"reward": [1.0], "value": [1.0], "terminated": [True], "t": [0]}), path)
    fails(path, *flags, code=2, says="not found in", hints=f"{hint}\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("r.parquet",), "`r.parquet` is no command"),
        (("r.parquet", "--gamma", "0.9"), "hint: `gae compute r.parquet` writes advantages"),
        (("runs",), "`runs` is no command"),
        (("--gamma", "0.9", "r.parquet"), "`--gamma` stands before the command"),
        (("--gamma=0.9", "compute", "r.parquet"), "hint: `gae compute FILE --gamma=0.9`"),
        (("comptue", "r.parquet"), "Did you mean 'compute'?"),
        (("--gama", "0.9", "r.parquet"), "No such option: --gama"),
    ],
    ids=" ".join,
)
def test_a_line_that_does_not_begin_with_a_command(run_gae, tmp_path, words, says):
    (tmp_path / "runs").mkdir()
    result = run_gae(*words, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert says in result.stderr


def test_no_input(fails):
    fails(code=2, says="no input given", hints="gae compute FILE")


@pytest.mark.parametrize(
    ("given", "near", "flag"),
    [("rewards_", "reward", "--reward-column"), ("vlaue", "value", "--value-column"),
     ("trunctaed", "truncated", "--truncated-column")],
)  # fmt: skip
def test_a_slip_in_a_column_name_is_met_with_the_right_one(fails, tmp_path, given, near, flag):
    path = write(tmp_path / "r.parquet")
    text = fails(
        path, flag, given, code=2, says=f"column `{given}` not found in `{path}`", hints=f"`{flag} {near}`"
    )
    assert "columns there: reward, value, terminated, truncated" in text


def test_a_file_without_values(fails, tmp_path):
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"reward": [1.0], "vf_pred": [0.0], "done": [True]}), path)
    fails(path, code=2, says=f"no value column in `{path}`", hints="`--value-column vf_pred`")


def test_a_column_that_was_named_for_another_role_is_not_proposed(fails, tmp_path):
    write(tmp_path / "r.parquet")
    says = "no reward column in `r.parquet`"
    hint = "`reward` is named by `--value-column`; name the reward with `--reward-column`"
    fails("r.parquet", "--value-column", "reward", code=2, says=says, hints=hint, cwd=tmp_path)


def test_two_columns_that_could_both_be_the_reward(fails, tmp_path):
    path = write(tmp_path / "r.parquet", rewards=np.zeros(ROWS))
    fails(path, code=2, says="`reward` and `rewards`", hints="--reward-column")


def test_an_output_that_somebody_else_wrote(fails, run_gae, tmp_path):
    path, output = write(tmp_path / "r.parquet"), tmp_path / "out.parquet"
    output.write_bytes(b"precious")
    for flags in (("-o", output), ("--sidecar", "-o", output)):
        fails(path, *flags, code=2, says=f"`{output}` exists", hints="--overwrite")
    write(tmp_path / "r.gae.parquet", seed=5)
    fails(path, "--sidecar", code=2, says="r.gae.parquet` exists", hints="--overwrite")
    ok(run_gae("compute", path, "-o", output, "--overwrite", "-q"))
    assert "advantage" in pq.read_schema(output).names


def test_one_place_for_two_results(fails, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    paths = [write(tmp_path / folder / "r.parquet") for folder in "ab"]
    fails(*paths, "-o", f"{tmp_path}/out/", code=2, says="would both be written to")
    write_npz(tmp_path / "a" / "r.npz")
    fails(tmp_path / "a", "--sidecar", code=2, says="would both be written to")
    fails(*paths, "-o", paths[0], code=2, says="is a file, but there are 2 inputs")


# Data: 3


@pytest.mark.parametrize(
    ("cell", "what"), [(float("nan"), "is NaN"), (float("inf"), "is infinite"), (None, "is null")]
)
@pytest.mark.parametrize("name", ["reward", "value"])
def test_cells_that_are_no_numbers(fails, tmp_path, cell, what, name):
    cells = columns()[name].tolist()
    cells[33] = cells[40] = cell
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({**columns(), name: cells, "episode": np.repeat(range(4), LENGTH)}), path)
    text = fails(path, code=3, says=f"`{name}` {what} at row 33 (episode 2", hints="--on-nan drop-episode")
    assert "2 such in all" in text


def test_a_flag_that_is_neither_0_nor_1(fails, tmp_path):
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"reward": [1.0] * 3, "value": [0.0] * 3, "done": [0.0, 0.5, 1.0]}), path)
    fails(
        path,
        code=3,
        says="`done` is 0.5, which is not a flag (0 or 1), at row 1",
        hints="--done-column done=",
    )


@pytest.mark.parametrize("cells", [[float("inf")] * 3, [float("-inf"), 0.0, float("inf")]])
def test_a_flag_that_is_infinite(fails, tmp_path, cells):
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"reward": [1.0] * 3, "value": [0.0] * 3, "done": cells}), path)
    text = fails(path, code=3, says="inf, which is not a flag (0 or 1), at row 0", hints="another column")
    assert "stands for an end" not in text


def test_the_same_way_out_is_told_once(fails, tmp_path):
    """One id throughout, and a counter that begins anew without an end."""
    path = tmp_path / "r.parquet"
    steps = np.array([0, 1, 2, 3, 0, 1, 2, 0, 1, 2])
    ended = np.arange(10) == 9
    table = {
        "reward": np.ones(10),
        "value": np.ones(10),
        "terminated": ended,
        "episode": steps * 0,
        "t": steps,
    }
    pq.write_table(pa.table(table), path)
    text = fails(path, code=3, says="`t` is 0 twice in one trajectory", hints="--env-column")
    assert text.count("--step-column none") == 1


def test_a_column_of_words(fails, tmp_path):
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"reward": ["a", "b"], "value": [0.0, 0.0], "done": [False, True]}), path)
    fails(path, code=3, says="its type is string", hints="--reward-column")


def test_arrays_of_different_lengths(fails, tmp_path):
    path = tmp_path / "r.npz"
    np.savez(path, rewards=np.zeros(5), values=np.zeros(4), terminated=np.zeros(5, np.bool_))
    fails(path, code=3, says="`values`", hints="must have the same length")


def test_all_of_it_is_wrong_in_one_of_many_files_and_the_others_are_done(run_gae, tmp_path):
    """Exit codes 2, 3 and 4 at once: the highest is what counts."""
    good = [write(tmp_path / f"good{seed}.parquet", seed) for seed in range(2)]
    foreign = write(tmp_path / "foreign.parquet", advantage=np.zeros(ROWS))
    nan = write(tmp_path / "nan.parquet", reward=[float("nan")] * ROWS)
    corrupt = tmp_path / "corrupt.parquet"
    corrupt.write_bytes(good[0].read_bytes()[:-20])
    missing = tmp_path / "missing.parquet"
    before = {path: path.read_bytes() for path in (foreign, nan, corrupt)}
    for paths, code in (
        ((foreign, good[0]), 2),
        ((nan, foreign, good[0]), 3),
        ((nan, missing, corrupt, *good), 4),
    ):
        result = run_gae("compute", *paths, "--gamma", f"0.{code}", "--json")
        assert result.returncode == code
        document = document_of(result)
        assert document["exit_code"] == code
        for file in document["files"]:
            is_good = "good" in file["input"]
            assert file["status"] == ("written" if is_good else "failed")
            assert (file["error"] is None) == is_good
            assert (file["exit_code"] == 0) == is_good
    assert {path: path.read_bytes() for path in before} == before
    assert "advantage" in pq.read_schema(good[1]).names


# Files: 4


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty: 0 bytes"),
        (b"reward and value\n", "is not a"),
        (b"PAR1", "r.parquet"),
        (b"PAR1" + b"\0" * 100 + b"PAR1", "r.parquet"),
        (b"\x93NUMPY\x01\0", "single NumPy array"),
        (b"\x80\x04pickle", "never loaded"),
    ],
    ids=["empty", "text", "magic", "zeros", "npy", "pickle"],
)
def test_files_that_are_none_of_ours(fails, tmp_path, content, says):
    path = tmp_path / "r.parquet"
    path.write_bytes(content)
    fails(path, code=4, says=says)


def test_a_truncated_file(fails, tmp_path):
    path = write(tmp_path / "r.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    fails(path, code=4, says=f"`{path}`")


def test_inputs_that_are_not_there(fails, tmp_path):
    write(tmp_path / "rollouts.parquet")
    fails(tmp_path / "rolouts.parquet", code=4, says="does not exist", hints="rollouts.parquet")
    fails(f"{tmp_path}/*.npz", code=4, says="matches no file")
    (tmp_path / "empty").mkdir()
    fails(tmp_path / "empty", code=4, says="holds no rollout files")


# Device: 5


def test_a_device_that_is_not_there(tmp_path):
    """In this process, which has imported torch."""
    pytest.importorskip("torch")
    path = write(tmp_path / "r.parquet")
    before = path.read_bytes()
    with pytest.raises(gaecli.DeviceError, match="device `cuda:99` is not available") as caught:
        gaecli.compute(path, device="cuda:99")
    assert caught.value.exit_code == 5
    assert "--device auto" in caught.value.hint
    assert path.read_bytes() == before

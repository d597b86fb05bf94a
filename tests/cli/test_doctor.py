"""`gae doctor`: the command that it ends in runs, what is open is asked, and nothing is written."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from in_process import run_here

import gaecli
from gaecli.advice import Advice, OpenQuestion
from gaecli.commands.answers import answers_in, keywords_of
from gaecli.commands.doctor import doctor
from gaecli.errors import UsageError
from gaecli.settings import Settings

ROWS, LENGTH = 120, 10
GAMMA, LAM = 0.99, 0.95


def columns(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "reward": rng.normal(size=ROWS),
        "value": rng.normal(size=ROWS),
        "terminated": np.arange(ROWS) % LENGTH == LENGTH - 1,
    }


def advantages(of: dict[str, Any], gamma: float = GAMMA, lam: float = LAM) -> list[float]:
    """By a loop from the end."""
    found, following, next_value = [0.0] * ROWS, 0.0, 0.0
    for row in reversed(range(ROWS)):
        if of["terminated"][row]:
            following = next_value = 0.0
        delta = of["reward"][row] + gamma * next_value - of["value"][row]
        found[row] = following = delta + gamma * lam * following
        next_value = of["value"][row]
    return found


def write(path: Path, **named: Any) -> Path:
    pq.write_table(pa.table(named), path)
    return path


def document(*args: str | Path) -> dict[str, Any]:
    done = run_here("doctor", *args, "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == found["exit_code"]
    return found


def run(command: str) -> None:
    """The command as it stands there."""
    shell = subprocess.run(["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True)
    program, *words = map(os.fsdecode, shell.stdout.split(b"\0")[:-1])
    assert program == "gae"
    done = run_here(*words, "--quiet")
    assert done.returncode == 0, done.stderr


def answered(path: Path, *replies: str | None) -> tuple[Advice, list[OpenQuestion]]:
    """By these replies, one after the other; and what was asked."""
    asked: list[OpenQuestion] = []

    def ask(question: OpenQuestion) -> str | None:
        asked.append(question)
        return replies[len(asked) - 1]

    def settings(more: Any) -> Settings:
        return Settings.from_preset(more.get("preset", "exact"), **{**more, "preset": None})

    return doctor([path], settings, ask=ask), asked


KINDS = (
    "cartpole.parquet",
    "cartpole_TN.npz",
    "sb3_rollout_buffer_cartpole.npz",
    "logs/verl_3.jsonl",
    "logs/prime_rl_traces.jsonl",
)


@pytest.mark.few("cartpole.parquet", "logs/prime_rl_traces.jsonl")
@pytest.mark.parametrize("name", KINDS)
def test_the_command_that_it_ends_in_runs(name: str, sample_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "a file's name" / Path(name).name
    path.parent.mkdir()
    shutil.copyfile(sample_data / name, path)
    before = path.read_bytes()
    advice = document(path)
    assert (advice["verdict"], advice["question"], advice["exit_code"]) == ("run", None, 0)
    assert path.read_bytes() == before
    run(advice["compute"])
    assert path.read_bytes() != before
    assert document(path)["verdict"] == "nothing to do"


def test_a_log_of_a_library_gets_the_command_of_its_preset(sample_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "verl.jsonl"
    shutil.copyfile(sample_data / "logs/verl_3.jsonl", path)
    advice = document(path)
    assert "--preset verl --estimator grpo" in advice["compute"]
    (reason,) = advice["reasons"]
    assert "looks like verl rollouts" in reason["why"]


def test_what_is_open_is_an_error_where_nobody_can_be_asked(tmp_path: Path) -> None:
    of = columns()
    path = write(tmp_path / "a.parquet", reward=of["reward"], vf=of["value"], terminated=of["terminated"])
    done = run_here("doctor", path)
    assert (done.returncode, "`--value-column vf`" in done.stderr) == (2, True)
    assert "gae compute" not in done.stdout
    found = document(path)
    assert (found["verdict"], found["compute"], found["exit_code"]) == ("question", None, 2)
    assert [answer["flags"] for answer in found["question"]["answers"]] == ["--value-column vf"]


def test_every_open_thing_is_asked_about_and_the_command_says_what_was_answered(tmp_path: Path) -> None:
    of = columns()
    path = write(tmp_path / "a.parquet", r=of["reward"], vf=of["value"], over=of["terminated"])
    advice, asked = answered(path, "--reward-column r", "--value-column vf", "--done-column over")
    assert [question.hint is not None for question in asked] == [True] * 3
    assert advice.verdict == "run"
    assert [reason.flags for reason in advice.reasons] == [
        *("--reward-column r", "--value-column vf", "--done-column over"),
    ]
    assert advice.command is not None
    run(advice.command)
    np.testing.assert_allclose(pq.read_table(path)["advantage"], advantages(of), rtol=1e-5, atol=1e-5)


def test_an_answer_that_does_not_do_is_asked_for_again_with_the_reason(tmp_path: Path) -> None:
    of = columns()
    path = write(tmp_path / "a.parquet", reward=of["reward"], vf=of["value"], terminated=of["terminated"])
    replies = (
        "--no-such-flag 3",
        "--gamma much",
        "--done-at end",
        "--value-column nowhere",
        "--value-column vf",
    )
    advice, asked = answered(path, *replies)
    assert advice.verdict == "run"
    assert asked[0].objection is None
    assert "--no-such-flag" in str(asked[1].objection)
    assert "`--gamma` is `much`" in str(asked[2].objection)
    assert "column `nowhere` not found" in asked[4].message
    left, _ = answered(path, None)
    assert (left.verdict, left.exit_code) == ("question", 2)


class TestFilesThatNeedDifferentFlags:
    def folder(self, tmp_path: Path, **rewards: str) -> Path:
        for seed, (name, reward) in enumerate(rewards.items()):
            of = columns(seed)
            done = {"terminated": of["terminated"]}
            write(tmp_path / f"{name}.parquet", **{reward: of["reward"]}, value=of["value"], **done)
        return tmp_path

    def test_are_told_with_what_each_wants_and_not_asked_about_for_ever(self, tmp_path: Path) -> None:
        root = self.folder(tmp_path, a="rew_a", b="rew_b", c="reward", d="rew_a")
        advice, asked = answered(root, "--reward-column rew_a")
        assert len(asked) == 1
        assert (advice.verdict, advice.exit_code) == ("question", 2)
        assert advice.question is not None
        assert advice.question.message.split("\n       ") == [
            "the files need different flags",
            f"{root}/a.parquet: `--reward-column rew_a`",
            f"{root}/d.parquet: `--reward-column rew_a`",
            f"{root}/b.parquet: `--reward-column rew_b`",
            f"{root}/c.parquet: none",
        ]
        command, *doctors = re.findall(r"`([^`]*)`", str(advice.question.hint))
        run(command)
        assert [pq.read_schema(root / f"{name}.parquet").names[-1] for name in "abcd"] == [
            *("return", "terminated", "terminated", "return"),
        ]
        assert doctors == [f"gae doctor {root}/{name}.parquet" for name in "bc"]

    def test_are_told_where_the_flags_of_one_were_given(self, tmp_path: Path) -> None:
        root = self.folder(tmp_path, a="rew_a", b="rew_b")
        found = document(root, "--reward-column", "rew_b")
        assert found["question"]["message"].startswith("the files need different flags")
        assert found["question"]["answers"] == []

    def test_are_not_files_that_all_lack_a_column_or_have_one_more_question(self, tmp_path: Path) -> None:
        root = self.folder(tmp_path, a="rew_a", b="rew_a")
        found = document(root, "--reward-column", "typo")
        assert "column `typo` not found" in found["question"]["message"]
        of = columns()
        write(root / "c.parquet", rew_a=of["reward"], vf=of["value"], terminated=of["terminated"])
        _, asked = answered(root, "--reward-column rew_a", None)
        assert "no value column" in asked[1].message


def test_the_root_is_an_answer_where_a_file_of_a_data_set_was_named(
    sample_data: Path, tmp_path: Path
) -> None:
    root = tmp_path / "set's"
    shutil.copytree(sample_data.parent / "tests" / "data" / "samples" / "hf" / "sharded", root)
    file = next(root.rglob("*.parquet"))
    advice, (question,) = answered(file, shlex.quote(str(root)))
    assert question.answers[0].flags == shlex.quote(str(root))
    assert advice.command is not None
    assert shlex.split(advice.command)[2] == str(root)
    run(advice.command)


def test_what_is_typed_may_be_anything_and_names_may_hold_anything(tmp_path: Path) -> None:
    of = columns()
    name = "v\x1b[31m \"q' `x"
    path = write(tmp_path / "a.parquet", **{"reward": of["reward"], name: of["value"]}, done=of["terminated"])
    replies = ("'", str(tmp_path), "--value-column", f"--value-column {shlex.quote(name)}")
    advice, asked = answered(path, *replies)
    assert all(question.objection for question in asked[1:])
    assert advice.command is not None
    run(advice.command)


def test_columns_within_others_may_be_named(tmp_path: Path) -> None:
    of = columns()
    infos = pa.StructArray.from_arrays([pa.array(of["value"]), pa.array(np.arange(ROWS))], ["worth", "time"])
    path = write(tmp_path / "a.parquet", reward=of["reward"], infos=infos, terminated=of["terminated"])
    advice, (question,) = answered(path, "--value-column infos.worth")
    assert question.columns["infos.worth"] == "double"
    assert advice.command is not None
    run(advice.command)
    np.testing.assert_allclose(pq.read_table(path)["advantage"], advantages(of), rtol=1e-5, atol=1e-5)


class TestColumnsThatAreThere:
    def test_and_right_are_left_alone(self, tmp_path: Path) -> None:
        of = columns()
        path = write(tmp_path / "a.parquet", **of, advantage=advantages(of, 0.9, 0.8))
        found = document(path)
        assert (found["verdict"], found["compute"], found["exit_code"]) == ("nothing to do", None, 0)
        (column,) = found["columns"]
        assert (column["column"], column["own"], column["reproduced"]) == ("advantage", False, True)
        assert column["rule"] == "--gamma 0.9 --lam 0.8"

    def test_of_somebody_else_and_of_no_rule_keep_their_name(self, tmp_path: Path) -> None:
        of, noise = columns(), np.random.default_rng(1).normal(size=ROWS)
        path = write(tmp_path / "a.parquet", **of, advantage=noise)
        found = document(path)
        assert found["verdict"] == "run"
        assert "--advantage-column gae_advantage" in found["compute"]
        assert "gaecli did not write it" in found["reasons"][0]["why"]
        run(found["compute"])
        table = pq.read_table(path)
        np.testing.assert_array_equal(table["advantage"], noise)
        np.testing.assert_allclose(table["gae_advantage"], advantages(of), rtol=1e-5, atol=1e-5)

    def test_by_gaecli_are_done_unless_the_rows_changed_or_others_are_asked_for(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.parquet", **columns())
        gaecli.compute(path, gamma=0.9)
        assert document(path)["verdict"] == "nothing to do"
        assert document(path, "--gamma", "0.9")["verdict"] == "nothing to do"
        other = document(path, "--gamma", "0.5")
        assert (other["verdict"], "--gamma 0.5" in other["compute"]) == ("run", True)
        table = pq.read_table(path)
        rewards = table["reward"].to_numpy().copy()
        rewards[7] += 1
        pq.write_table(table.set_column(0, "reward", pa.array(rewards)), path)
        assert document(path)["verdict"] == "run"


def test_what_check_finds_is_told_and_errors_decide_the_exit_code(tmp_path: Path) -> None:
    of = columns()
    of["value"][5] = np.nan
    path = write(tmp_path / "a.parquet", **of)
    found = document(path, "--on-nan", "drop-episode")
    assert found["verdict"] == "run"
    assert "error" in {finding["severity"] for finding in found["findings"]}
    assert found["exit_code"] == 3
    assert "--on-nan drop-episode" in found["compute"]
    run(found["compute"])


def test_what_compute_would_warn_of_is_told_once(tmp_path: Path) -> None:
    of = columns()
    of["terminated"] = of["terminated"] & (np.arange(ROWS) < ROWS - 1)  # the last episode is open
    path = write(tmp_path / "a.parquet", **of, game_over=np.arange(ROWS) % 40 == 39)
    text = run_here("doctor", path, env={"COLUMNS": "200"}).stdout
    assert [text.count(code) for code in ("bootstrap-zero", "unused-flag")] == [1, 1]


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 PAR1")
    done = run_here("doctor", path)
    assert (done.returncode, "error: " in done.stderr) == (4, True)


def test_from_python(tmp_path: Path) -> None:
    of = columns()
    path = write(tmp_path / "a.parquet", reward=of["reward"], vf=of["value"], terminated=of["terminated"])
    question = gaecli.doctor(path).question
    assert question is not None
    assert keywords_of(question.answers[0].flags) == {"columns": {"value": "vf"}}
    advice = gaecli.doctor(path, value_column="vf", gamma=0.9)
    assert repr(advice) == f"<Advice: {advice.command}>"
    assert "--value-column vf" in advice._repr_html_()
    assert advice.command == f"gae compute {path} --gamma 0.9 --lam 0.95 --value-column vf"


def test_on_a_terminal_it_asks_by_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gaecli.cli import main

    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    of = columns()
    path = write(tmp_path / "a.parquet", reward=of["reward"], worth=of["value"], terminated=of["terminated"])
    out, err = io.StringIO(), Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "argv", ["gae", "doctor", str(path)])
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr(sys, "stdin", Terminal("1\n7\n2\n"))
    assert main._exit_code() == 0
    asked = err.getvalue()
    assert "no value column" in asked
    assert "1  --value-column …" in asked
    assert "2  worth  (double)" in asked
    assert f"gae compute {path} --gamma 0.99 --lam 0.95 --value-column worth" in out.getvalue()
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    assert main._exit_code() == 2


class TestAnswersInHints:
    @pytest.mark.parametrize(
        ("hint", "expected"),
        [
            ("pass `--done-at end` or `--done-at start`", ["--done-at end", "--done-at start"]),
            ("say which: `--done-column d --done-at start`", ["--done-column d --done-at start"]),
            ("drop `--done-at end`; `--estimator mc` needs none", ["--estimator mc"]),
            ("raise `--memory` to 2GiB; or write elsewhere with `--output`", []),
            ("name it with `--value-column`", ["--value-column …"]),
            ("name another column with its `--…-column`; pass `--join`", ["--join"]),
            ("pass `--mask-column 'a b'` if so", ["--mask-column 'a b'"]),
            (None, []),
        ],
    )
    def test_are_the_flags_of_settings_that_it_says_to_pass(
        self, hint: str | None, expected: list[str]
    ) -> None:
        found = [answer.flags + (" …" if answer.is_open else "") for answer in answers_in(hint)]
        assert found == expected

    def test_hold_under_a_condition_where_their_clause_has_one(self) -> None:
        found = answers_in(
            "pass `--join` if they follow one another; else `--no-join`; or `--on-nan drop-episode`"
        )
        assert [answer.is_conditional for answer in found] == [True, True, False]

    def test_are_keywords_of_settings(self) -> None:
        flags = "--done-column 'a b' --group-column x --group-column y --gamma=0.9 --no-join --keep-raw"
        assert keywords_of(flags) == {
            "columns": {"done": "a b"},
            "group_column": ("x", "y"),
            "gamma": 0.9,
            "join": False,
            "keep_raw": True,
        }
        for bad in ("--done-column", "--output x", "done", "--gamma 'x", "--gamma x"):
            with pytest.raises(UsageError):
                keywords_of(bad)


def test_a_command_that_a_hint_has_is_an_answer(tmp_path: Path) -> None:
    cells = {"prompt": ["p", "p", "q", "q"], "completion": list("abcd"), "reward": [0.0, 1.0, 1.0, 0.0]}
    path = write(tmp_path / "responses.parquet", **cells)
    flags = "--estimator grpo --group-column prompt --reward-column reward"
    advice, (question,) = answered(path, flags)
    assert flags in [answer.flags for answer in question.answers]
    assert advice.command is not None
    run(advice.command)
    assert pq.read_table(path)["advantage"].to_pylist() == pytest.approx(
        [-(2**-0.5), 2**-0.5, 2**-0.5, -(2**-0.5)], abs=1e-3
    )


def test_a_name_that_looks_like_a_flag_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "-n.parquet", **columns())
    monkeypatch.chdir(tmp_path)
    run(run_here("doctor", "--quiet", "--", "-n.parquet").stdout)
    assert "advantage" in pq.read_schema(tmp_path / "-n.parquet").names


_STEPS = {"reward": np.ones(ROWS), "value": np.zeros(ROWS)}
_ENDS = np.arange(ROWS) % LENGTH == LENGTH - 1


@pytest.mark.parametrize(
    "named",
    [
        {"my reward's": np.ones(ROWS), "value": np.zeros(ROWS), "terminated": _ENDS},
        {"reward": np.ones(ROWS), "critic [0] (vf)": np.zeros(ROWS), "terminated": _ENDS},
        {**_STEPS, "last step?": _ENDS},
        {**_STEPS, "terminated": _ENDS, "$mask; a": 1 - np.roll(_ENDS, 3)},
        {**_STEPS, "terminated": _ENDS, "agent no": np.arange(ROWS) % 2},
    ],
    ids=["reward", "value", "ends", "inverted", "ids"],
)
def test_flags_in_hints_are_what_a_shell_takes_whatever_columns_are_called(
    tmp_path: Path, named: dict[str, Any]
) -> None:
    """In questions, and in what is only a warning."""
    odd = next(name for name in named if not name.isidentifier())
    info = gaecli.inspect(write(tmp_path / "a.parquet", **named))
    hints = [info.plan.hint if info.plan else None, *(note.hint for note in info.warnings)]
    answers = [answer for hint in hints for answer in answers_in(hint) if not answer.is_open]
    taken = [keywords_of(answer.flags) for answer in answers]
    names = {name for keywords in taken for name in keywords.get("columns", {}).values()}
    assert odd in names
    assert names <= {*named, "none"}


def test_an_answer_that_is_taken_back_is_no_reason(tmp_path: Path) -> None:
    of = columns()
    path = write(tmp_path / "a.parquet", reward=of["reward"], vf=of["value"], terminated=of["terminated"])
    advice, _ = answered(path, "--value-column nope", "--value-column vf --done-at end")
    assert [reason.flags for reason in advice.reasons] == ["--value-column vf --done-at end"]

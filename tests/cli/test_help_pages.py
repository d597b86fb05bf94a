"""The help pages: all flags, in lines that fit, and in the end what people type."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from covers import turns
from in_process import run_here
from rich.cells import cell_len
from typer.testing import CliRunner

import gaecli
from gaecli.cli.examples import EXAMPLES
from gaecli.cli.main import app
from gaecli.cli.options import OPTIONS
from gaecli.cli.typer_classes import COMMANDS, _loaded

COLOURS = {"FORCE_COLOR": "1", "TERM": "xterm-256color"}


def page(command, env):
    result = CliRunner().invoke(app, [*([command] if command else []), "--help"], env=env, color=True)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.few(7)
@pytest.mark.parametrize(("command", "width"), turns(["", *COMMANDS], [40, 60, 80, 120]))
def test_lines_fit(command, width):
    """Of examples those in which a flag and its value do not fit into 40 columns do not have to."""
    text = page(command, {"COLUMNS": str(width)})
    text = text if width >= 80 else text.split("\n Examples\n")[0]
    assert [line for line in text.splitlines() if cell_len(line.rstrip()) > width] == []
    assert "<bool>" not in text
    assert "<str>" not in text


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_has_every_flag_and_all_that_it_takes(name):
    words = page(name, {"COLUMNS": "100"}).replace(",", " ").replace("/", " ").replace(".", " ").split()
    params = _loaded(name).params
    for param in params:
        for spelling in (*param.opts, *param.secondary_opts):
            assert spelling in words or param.param_type_name == "argument", spelling
        if param.name in OPTIONS and "|" in (param.metavar or ""):
            shown = " ".join(words)
            assert all(choice in shown for choice in param.metavar.split("|")), param.metavar
    assert f"gae {name}" in " ".join(words)


def test_colours_are_asked_for():
    assert "\x1b[1;36m--gamma" in page("compute", COLOURS)
    assert "\x1b" not in page("compute", {})


@pytest.mark.parametrize("name", COMMANDS)
def test_the_group_says_of_each_command_what_its_own_page_begins_with(name):
    lines = [line.strip() for line in page(name, {"COLUMNS": "200"}).splitlines()]
    assert COMMANDS[name] in lines


@pytest.fixture(scope="module")
def examples_place(tmp_path_factory: pytest.TempPathFactory, sample_data: Path) -> Path:
    """The files that examples name."""
    folder = tmp_path_factory.mktemp("examples")
    for source, name in (
        ("pendulum.parquet", "rollouts.parquet"),
        ("pendulum.parquet", "other.parquet"),
        ("cartpole.parquet", "runs/cartpole.parquet"),
        ("completions/completions_00020.parquet", "completions.parquet"),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(sample_data / source, folder / name)
    for name, lam in (("rollouts", 0.95), ("other", 0.9)):
        gaecli.compute(folder / f"{name}.parquet", lam=lam)
    return folder


@pytest.fixture
def place(examples_place: Path, tmp_path: Path) -> Path:
    """A copy of them that may be written to."""
    return shutil.copytree(examples_place, tmp_path, dirs_exist_ok=True)


#: 3 says that something was found, or is left: no fault of the command.
@pytest.mark.parametrize(
    "example", [one.command for name, some in EXAMPLES.items() if name != "show" for one in some]
)
def test_an_example_runs(example, place):
    program, *words = shlex.split(example.replace("\\\n", ""))
    assert program == "gae"
    result = run_here(*words, cwd=place)
    assert result.returncode in (0, 3), result.stderr
    assert result.stdout or "github" in words, "annotations of what is right are none"


@pytest.mark.parametrize("example", [one.command for one in EXAMPLES["show"]])
def test_an_example_of_show_lacks_nothing_but_a_terminal(example, place):
    result = run_here(*shlex.split(example)[1:], cwd=place)
    assert result.returncode == 2
    assert "needs a terminal" in result.stderr


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_every_command_has_examples_of_its_own_and_shows_them(name):
    text = page(name, {"COLUMNS": "80"}).split("\n Examples\n")[1]
    assert 2 <= len(EXAMPLES[name]) <= 4
    for example in EXAMPLES[name]:
        assert all(line.strip() in text for line in example.command.splitlines())
        assert example.command.startswith(f"gae {name}".strip())


def test_names_and_options_are_completed(run_gae):
    for words, position, expected in (
        ("gae com", "1", "compute"),
        ("gae compute --prec", "2", "--precision"),
    ):
        env = {"_GAE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": position}
        assert run_gae(env=env).stdout.split() == [expected]


@pytest.mark.parametrize(
    ("words", "flags"), [("help", "--help"), ("help sweep", "sweep --help"), ("version", "--version")]
)
def test_words_for_help_and_version(words, flags):
    asked, expected = (CliRunner().invoke(app, line.split()) for line in (words, flags))
    assert (asked.exit_code, asked.output) == (0, expected.output)
    assert asked.output


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("comput a.parquet", "'compute'"),
        ("compute a.parquet --normalise all", "--normalize"),
        ("compute other.parquet --preset clean-rl", "`cleanrl`"),
        ("compute other.parquet --estimator gea", "`gae`"),
        ("compute other.parquet --value-column valu", "`--value-column value`"),
        ("compute othr.parquet", "`other.parquet`"),
        ("verify other.parquet --against retrun", "`--against return`"),
        ("diff other.parquet --columns rewrd,value", "`--columns reward`"),
        ("check other.parquet --output-format gihub", "`github`"),
    ],
)
def test_a_slip_of_the_pen_is_told_what_was_meant(words, meant, place):
    result = run_here(*words.split(), cwd=place)
    assert result.returncode == 2 + 2 * ("othr" in words)
    assert meant in result.stderr

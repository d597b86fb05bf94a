"""Every flag, declared once: its names, its help, its place in the help page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from gaecli.errors import UsageError

ESTIMATOR = "Estimator"
COLUMNS = "Columns"
NORMALIZE = "Normalisation"
RUN = "Run"
OUTPUT = "Output"
RULES = "Rules"

_SIZES = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KIB": 1 << 10,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
}


def parse_size(text: str) -> int:
    """`1GiB`, `512MiB`, `2e9` in bytes."""
    number = text.strip()
    unit = ""
    while number and (number[-1].isalpha()):
        unit, number = number[-1] + unit, number[:-1]
    try:
        size = int(float(number) * _SIZES[unit.upper()])
    except (ValueError, KeyError, OverflowError) as error:
        raise UsageError(f"`--memory` is `{text}`; it is a size such as 512MiB or 2GiB") from error
    if size < 1 << 20:
        raise UsageError(f"`--memory` is `{text}`; it must be 1MiB at least")
    return size


def _option(
    *names: str,
    help: str,
    panel: str,
    metavar: str | None = None,
    number: type[int] | type[float] | None = None,
) -> typer.models.OptionInfo:
    """`number`: int or float, of a flag that is one."""
    option: typer.models.OptionInfo = typer.Option(
        *names,
        help=help,
        rich_help_panel=panel,
        metavar=metavar or (number.__name__.upper() if number is not None else None),
        show_default=True,
        parser=_parser(names[0], number) if number is not None else None,
    )
    return option


def _parser(flag: str, number: type[int] | type[float]) -> Callable[[str], float]:
    """Not typer's own, whose error does not show what was given."""

    def parse(text: str) -> float:
        try:
            return number(text)
        except ValueError as error:
            kind = "a whole number" if number is int else "a number"
            raise UsageError(f"`{flag}` is `{text}`; it must be {kind}") from error

    return parse


def _column(role: str, what: str) -> typer.models.OptionInfo:
    name = f"--{role.replace('_', '-')}-column"
    return _option(name, help=f"Column with {what}.", panel=COLUMNS, metavar="NAME")


Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT...",
        help="Files, quoted globs, directories, `s3://…`, or `-` for stdin.",
        show_default=False,
    ),
]
Preset = Annotated[
    str,
    _option(
        "--preset",
        help="Compute as this library does; `gae presets` lists them. A flag given beside it wins.",
        panel=ESTIMATOR,
        metavar="NAME",
    ),
]
Gamma = Annotated[
    float | None,
    _option(
        "--gamma", "-g", help="Discount γ. Default: 0.99, or the preset's.", panel=ESTIMATOR, number=float
    ),
]
Lam = Annotated[
    float | None,
    _option(
        "--lam",
        "--lambda",
        "--gae-lambda",
        "-l",
        help="GAE's λ. Default: 0.95, or the preset's.",
        panel=ESTIMATOR,
        number=float,
    ),
]
LamAlpha = Annotated[
    float | None,
    _option(
        "--lam-alpha",
        help="λ by the length n of each trajectory, instead: 1 - 1 / max(alpha n, 1).",
        panel=ESTIMATOR,
        number=float,
        metavar="ALPHA",
    ),
]
Truncation = Annotated[
    str | None,
    _option(
        "--truncation",
        help="A truncated end has a next value (`exact`), that of its own state (`current`), is terminal "
        "(`zero`), has no advantage (`drop`), or is no end (`leak`). Default: `exact`, or the preset's.",
        panel=ESTIMATOR,
        metavar="exact|current|zero|drop|leak",
    ),
]
Bootstrap = Annotated[
    str,
    _option(
        "--bootstrap",
        help="V after an end that is not terminal and has no next value: `zero`, `current` (V of the last "
        "state), or `error`.",
        panel=ESTIMATOR,
        metavar="zero|current|error",
    ),
]
DoneAt = Annotated[
    str | None,
    _option(
        "--done-at",
        help="A done flag says that its step ended the episode (`end`) or that its observation begins "
        "one (`start`). Default: by name, checked against episode ids.",
        panel=ESTIMATOR,
        metavar="end|start",
    ),
]
Layout = Annotated[
    str,
    _option(
        "--layout",
        help="How steps are laid out; `auto` goes by shapes and asks where they leave it open.",
        panel=ESTIMATOR,
        metavar="auto|long|nested|time-major|batch-major",
    ),
]
MaskMode = Annotated[
    str | None,
    _option(
        "--mask-mode",
        help="Masked steps do not exist (`skip`), count as 0 while time goes on (`zero`), the same but let the "
        "trace pass (`gated`), or are left out of statistics only (`keep`). Default: `skip`, or the preset's.",
        panel=ESTIMATOR,
        metavar="skip|zero|gated|keep",
    ),
]
MaskFill = Annotated[
    str | None,
    _option(
        "--mask-fill",
        help="Masked rows hold nothing (`null`), 0 (`zero`), or what the recursion carries through them "
        "(`carry`). Default: `null`, or the preset's.",
        panel=ESTIMATOR,
        metavar="null|zero|carry",
    ),
]

MaskedReward = Annotated[
    str,
    _option(
        "--masked-reward",
        help="A reward that is not 0 on a masked step is left out with a warning (`drop`), goes to the last kept "
        "step before it (`move`), or is an error (`error`).",
        panel=ESTIMATOR,
        metavar="drop|move|error",
    ),
]

RewardColumn = Annotated[str | None, _column("reward", "the reward after the step")]
ValueColumn = Annotated[
    str | None, _column("value", "the value of the state before the step; `infos.value` reaches into structs")
]
NextValueColumn = Annotated[str | None, _column("next_value", "V of the next state, where the file has it")]
BootstrapColumn = Annotated[
    str | None, _column("bootstrap_value", "V after the end, per trajectory or environment")
]
DoneColumn = Annotated[
    str | None, _column("done", "the flag for an end of whatever kind; `none`: there is none")
]
TerminatedColumn = Annotated[str | None, _column("terminated", "the flag for a terminal next state")]
TruncatedColumn = Annotated[str | None, _column("truncated", "the flag for an episode cut by a limit")]
NotDoneColumn = Annotated[
    str | None,
    _column(
        "not_done", "an inverted flag: 0, where others have 1, and 1 or γ elsewhere; `none`: there is none"
    ),
]
NotTruncatedColumn = Annotated[
    str | None, _column("not_truncated", "an inverted flag: 0 for an episode cut by a limit")
]
FinalDoneColumn = Annotated[
    str | None, _column("final_done", "the start flags after the last step, per environment")
]
EpisodeColumn = Annotated[str | None, _column("episode", "the id of the episode")]
EnvColumn = Annotated[str | None, _column("env", "the id of the environment")]
StepColumn = Annotated[str | None, _column("step", "the number of the step; orders the rows of a trajectory")]
MaskColumn = Annotated[str | None, _column("mask", "1 for steps that take part")]
AdvantageColumn = Annotated[
    str, _option("--advantage-column", help="Name of the column written.", panel=COLUMNS, metavar="NAME")
]
ReturnColumn = Annotated[
    str, _option("--return-column", help="Name of the column written.", panel=COLUMNS, metavar="NAME")
]

Normalize = Annotated[
    str | None,
    _option(
        "--normalize",
        help="Normalise advantages over `all` inputs of this command, per `file`, or per `episode`. "
        "Default: `none`, or the preset's.",
        panel=NORMALIZE,
        metavar="none|all|file|episode",
    ),
]
NormalizeBy = Annotated[
    str | None,
    _option(
        "--normalize-by", help="Normalise over equal values of a column.", panel=NORMALIZE, metavar="COLUMN"
    ),
]
NormDdof = Annotated[
    int | None,
    _option(
        "--norm-ddof",
        help="Divisor of the variance is n - ddof: 1 as torch, 0 as NumPy. Default: 1, or the preset's.",
        panel=NORMALIZE,
        number=int,
    ),
]
NormEps = Annotated[
    float | None,
    _option(
        "--norm-eps",
        help="Keeps the divisor from 0. Default: 1e-8, or the preset's.",
        panel=NORMALIZE,
        number=float,
    ),
]
NormFloor = Annotated[
    str | None,
    _option(
        "--norm-floor",
        help="Divisor: std + eps (`add`), max(std, eps) (`clamp`), or sqrt(var + eps) (`rsqrt`). "
        "Default: `add`, or the preset's.",
        panel=NORMALIZE,
        metavar="add|clamp|rsqrt",
    ),
]
KeepRaw = Annotated[
    bool, _option("--keep-raw", help="Also write the raw advantage, as `advantage_raw`.", panel=NORMALIZE)
]

FilesFrom = Annotated[
    str | None,
    _option(
        "--files-from",
        help="Read names of inputs from a file, or `-` for stdin; NUL or newline between.",
        panel=OUTPUT,
        metavar="FILE|-",
    ),
]
Join = Annotated[
    bool | None,
    _option(
        "--join/--no-join",
        help="All files are one stream in which trajectories run on, or every file stands alone. "
        "Default: shards of one data set are joined, other files are not.",
        panel=OUTPUT,
    ),
]
Device = Annotated[
    str,
    _option(
        "--device",
        help="`auto` computes with NumPy and never imports torch below 500 million steps; above, it takes the "
        "first CUDA device, if there is one. Every other name means torch. Both give the same numbers in float64.",
        panel=RUN,
        metavar="auto|cpu|cuda|cuda:N|mps",
    ),
]
Precision = Annotated[
    str,
    _option(
        "--precision",
        help="float64 or float32 arithmetic; columns are float32.",
        panel=RUN,
        metavar="double|single",
    ),
]
Memory = Annotated[str, _option("--memory", help="Working set, about.", panel=RUN, metavar="SIZE")]
Jobs = Annotated[
    int | None, _option("--jobs", "-j", help="Threads. Default: one per core.", panel=RUN, number=int)
]

Output = Annotated[
    str | None,
    _option(
        "--output",
        "-o",
        help="File, directory or `s3://…` to write to, instead of the input; `-` for stdout.",
        panel=OUTPUT,
        metavar="FILE|DIR|-",
    ),
]
Sidecar = Annotated[
    bool, _option("--sidecar", help="Write keys and new columns to `<stem>.gae.parquet`.", panel=OUTPUT)
]
Overwrite = Annotated[
    bool, _option("--overwrite", help="Replace columns or files that gaecli did not write.", panel=OUTPUT)
]
Force = Annotated[bool, _option("--force", help="Compute and write again what is up to date.", panel=OUTPUT)]
DryRun = Annotated[bool, _option("--dry-run", help="Compute and report, write nothing.", panel=OUTPUT)]
Json = Annotated[bool, _option("--json", help="Print the summary as one JSON document.", panel=OUTPUT)]
Quiet = Annotated[bool, _option("--quiet", "-q", help="Print no table.", panel=OUTPUT)]
NoProgress = Annotated[bool, _option("--no-progress", help="Show no progress bar.", panel=OUTPUT)]
OnNan = Annotated[
    str,
    _option(
        "--on-nan",
        help="NaN, infinite and null cells are an error, or leave their episode out.",
        panel=OUTPUT,
        metavar="error|drop-episode",
    ),
]

Episodes = Annotated[
    bool,
    _option("--episodes", help="List the episodes: id, length, end, return, mean value.", panel=OUTPUT),
]
Head = Annotated[
    int,
    _option(
        "--head", "-n", help="Show so many rows from the beginning.", panel=OUTPUT, number=int, metavar="N"
    ),
]
DocumentJson = Annotated[bool, _option("--json", help="Print one JSON document.", panel=OUTPUT)]
Select = Annotated[
    list[str] | None,
    _option(
        "--select",
        help="Check these rules only: codes or their beginnings, with commas between (`GAE0,GAE101`).",
        panel=RULES,
        metavar="CODES",
    ),
]
Ignore = Annotated[
    list[str] | None,
    _option("--ignore", help="Leave these rules out, in the same form.", panel=RULES, metavar="CODES"),
]
Strict = Annotated[bool, _option("--strict", help="Exit with 3 on warnings too.", panel=RULES)]
ListRules = Annotated[bool, _option("--list", help="List the rules and end.", panel=RULES)]
Plot = Annotated[
    str | None,
    _option("--plot", help="Draw to a .png, .svg or .html file.", panel=OUTPUT, metavar="FILE"),
]

PLOT_SUFFIXES = (".png", ".svg", ".html")


def check_plot(plot: str | None) -> None:
    """Before anything is computed: a picture that cannot be drawn is no reason to have waited."""
    if plot is None:
        return
    if not plot.lower().endswith(PLOT_SUFFIXES):
        raise UsageError(f"`--plot {plot}`: pictures are {', '.join(PLOT_SUFFIXES)}")
    from gaecli.report.plots import check_available
    from gaecli.storage.links import check_links

    check_links(Path(plot).parent)  # a link of that name is not followed: the picture takes its place
    check_available()

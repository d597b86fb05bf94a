"""The flags of explain, sweep and verify that no other command has, declared once."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from gaecli.cli.options import _option as option
from gaecli.errors import UsageError

STUDY = "Question"

OneInput = Annotated[str, typer.Argument(metavar="INPUT", help="A rollout file.", show_default=False)]
Row = Annotated[
    int | None, option("--row", help="The step in row N, from 0.", panel=STUDY, number=int, metavar="N")
]
Episode = Annotated[
    str | None, option("--episode", help="The episode, as its column has it.", panel=STUDY, metavar="ID")
]
Env = Annotated[
    str | None, option("--env", help="The environment, as its column has it.", panel=STUDY, metavar="E")
]
Step = Annotated[
    int | None,
    option(
        "--step",
        help="The step, as its column has it; else counted from 0.",
        panel=STUDY,
        number=int,
        metavar="T",
    ),
]
Top = Annotated[
    int | None,
    option(
        "--top",
        help="Show the N steps that contribute most. Default: 12 in the table, all in `--json`.",
        panel=STUDY,
        number=int,
        metavar="N",
    ),
]
GammaGrid = Annotated[
    str,
    option(
        "--gamma", "-g", help="Values of γ: a list, or first:last:step.", panel=STUDY, metavar="0.95,0.99"
    ),
]
LamGrid = Annotated[
    str,
    option(
        "--lam",
        "--lambda",
        "--gae-lambda",
        "-l",
        help="Values of λ: a list, or first:last:step.",
        panel=STUDY,
        metavar="0:1:0.05",
    ),
]
Metric = Annotated[
    str,
    option(
        "--metric",
        help="What the heat map shows.",
        panel=STUDY,
        metavar="explained_variance|std|bias|sign_agreement|mean",
    ),
]
Against = Annotated[
    str,
    option(
        "--against",
        help="The column of advantages, or of returns, to explain.",
        panel=STUDY,
        metavar="COLUMN",
    ),
]
AgainstFile = Annotated[
    str | None,
    option(
        "--against-file",
        help="The file with that column, if it is another one with the same rows.",
        panel=STUDY,
        metavar="FILE",
    ),
]
OnlyPreset = Annotated[
    str | None,
    option("--preset", help="Try this preset only. Default: all of them.", panel=STUDY, metavar="NAME"),
]


def parse_grid(text: str, flag: str) -> list[float]:
    """`0.95,0.99` or `0:1:0.05`, ends included, or both mixed; numbers as a person would write them."""
    found: list[float] = []
    try:
        for part in text.split(","):
            first, *rest = (Decimal(number) for number in part.split(":"))
            if not rest:
                found.append(float(first))
                continue
            last, step = rest
            if step <= 0 or last < first or (last - first) / step > 10_000:
                raise UsageError(f"`{flag} {part}` goes nowhere", hint="first:last:step, such as 0:1:0.05")
            found += [float(first + step * count) for count in range(int((last - first) / step) + 1)]
    except (InvalidOperation, ValueError) as error:
        raise UsageError(
            f"`{flag}` is `{text}`; it is a list such as 0.95,0.99 or a range such as 0:1:0.05"
        ) from error
    return sorted(set(found))


METRICS = ("explained_variance", "std", "bias", "sign_agreement", "mean")


def check_metric(metric: str) -> None:
    if metric not in METRICS:
        raise UsageError(f"`--metric` is `{metric}`; it must be one of {', '.join(METRICS)}")

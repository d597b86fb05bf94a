"""What the texts of some options mean, and whether they mean anything."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path

from gaecli.errors import UsageError, not_one_of
from gaecli.estimator_kinds import ESTIMATORS

LABEL_METRICS = ("threshold", "positive_share", "label_agreement")
METRICS = ("explained_variance", "std", "bias", "sign_agreement", "mean", *LABEL_METRICS)
PLOT_SUFFIXES = (".png", ".svg", ".html")

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


def parse_whole_numbers(text: str, flag: str) -> list[int]:
    """`1,5,10` or `5:20:5`."""
    numbers = parse_grid(text, flag)
    for number in numbers:
        if number < 1 or number != int(number):
            raise UsageError(f"`{flag}` holds {number:g}; it must be a whole number, 1 at least")
    return [int(number) for number in numbers]


def names_in(text: str) -> list[str]:
    """`grpo,rloo`, each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",")))


def check_estimators(names: list[str]) -> None:
    for name in names:
        if name not in ESTIMATORS:
            raise not_one_of("--estimator", name, ESTIMATORS)


def check_metric(metric: str, *, has_labels: bool) -> None:
    if metric not in METRICS:
        raise not_one_of("--metric", metric, METRICS)
    if metric in LABEL_METRICS and not has_labels:
        raise UsageError(
            f"`--metric {metric}` is of labels",
            hint="pass `--label-quantile`, `--label-threshold` or `--label-rule`",
        )


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

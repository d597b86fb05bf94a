"""Numbers, durations and small charts as text. Strings in and out; nothing here knows a console."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: A number is written out while its first digit stands in one of these decimal places, else as 1.235e-9.
SMALLEST_FIXED_EXPONENT = -3
LARGEST_FIXED_EXPONENT = 5
#: A mean smaller than this part of its standard deviation is what rounding leaves of a zero.
NEGLIGIBLE = 1e-7


def format_number(number: float | None, *, scale: float | None = None, missing: str = "-") -> str:
    """Four significant digits: `0.001234`, `12.50`, `12,346`, `1.235e12`; an exact zero is `0`.

    Exponents are written without padding (`1e-9`, not `1e-09`): shorter, and every language reads it.
    What is negligible beside `scale` is `0.000`: the mean of normalised numbers is 1e-17, not 0, and
    its digits say nothing.
    """
    if number is None:
        return missing
    if not math.isfinite(number):
        return str(float(number))
    if number == 0:
        return "0"
    if scale is not None and abs(number) < NEGLIGIBLE * scale:
        return "0.000"
    mantissa, _, exponent_digits = f"{number:.3e}".partition("e")
    exponent = int(exponent_digits)
    if SMALLEST_FIXED_EXPONENT <= exponent <= LARGEST_FIXED_EXPONENT:
        return f"{number:,.{max(3 - exponent, 0)}f}"
    return f"{mantissa}e{exponent}"


def format_count(count: int | None, *, missing: str = "-") -> str:
    """All digits of a count, in groups of three."""
    return missing if count is None else f"{count:,}"


def format_setting(number: float) -> str:
    """A number that a person typed, with all its digits: `0.99`, `1`, `1e-8`."""
    text = repr(float(number)).removesuffix(".0")
    mantissa, exponent_mark, exponent_digits = text.partition("e")
    return f"{mantissa}e{int(exponent_digits)}" if exponent_mark else mantissa


def format_seconds(seconds: float | None) -> str:
    """Three digits at most, in the unit that a person would say: `8 ms`, `4.12 s`, `3 min 20 s`."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if seconds < 0.9995:
        return "0 s" if seconds <= 0 else "<1 ms" if seconds < 0.0005 else f"{seconds * 1000:.0f} ms"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"


def format_rate(per_second: float | None, unit: str = "steps") -> str:
    """`812 steps/s`, `24.1 k steps/s`, `108 M steps/s`."""
    if per_second is None or not math.isfinite(per_second):
        return "-"
    for size, prefix in ((1e9, "G "), (1e6, "M "), (1e3, "k ")):
        if per_second >= size * 0.9995:
            return f"{_three_digits(per_second / size)} {prefix}{unit}/s"
    return f"{_three_digits(per_second)} {unit}/s"


def format_bytes(count: int | None) -> str:
    """`512 bytes`, `56.0 kB`, `1.24 GB`: decimal units, as file managers have them."""
    if count is None:
        return "-"
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size * 0.9995:
            return f"{_three_digits(count / size)} {unit}"
    return f"{count} byte" if count == 1 else f"{count} bytes"


def align_decimals(numbers: Sequence[str]) -> list[str]:
    """The same strings padded so that their decimal points stand below each other."""
    parts = [number.partition(".") for number in numbers]
    left = max((len(whole) for whole, _, _ in parts), default=0)
    right = max((len(point + fraction) for _, point, fraction in parts), default=0)
    return [whole.rjust(left) + (point + fraction).ljust(right) for whole, point, fraction in parts]


def histogram_bar(counts: Sequence[int], width: int, levels: str = "▁▂▃▄▅▆▇█") -> str:
    """`width` characters whose heights follow `counts`; a space where there is nothing at all.

    The lowest level means "some, however few": a single outlier among millions stays visible.
    """
    heights = _rebinned(counts, width)
    highest = max(heights, default=0)
    if highest <= 0:
        return " " * width
    top = len(levels) - 1
    return "".join(" " if height <= 0 else levels[round(top * (height / highest))] for height in heights)


def gauge_bar(fraction: float, width: int, symbols: str = "█░") -> str:
    """A bar filled from the left by `fraction`, clipped to [0, 1]; NaN fills nothing."""
    clipped = min(fraction, 1.0) if fraction > 0 else 0.0
    filled = round(clipped * width)
    return symbols[0] * filled + symbols[1] * (width - filled)


def _rebinned(counts: Sequence[int], width: int) -> list[int]:
    """`counts` spread over `width` equal bins by overlap, in units of 1 / len(counts).

    Whole numbers throughout: bin k covers [k n, (k + 1) n) and count j [j width, (j + 1) width) on one ruler.
    """
    size = len(counts)
    heights = [0] * width
    for position, count in enumerate(counts):
        start, end = position * width, (position + 1) * width
        for target in range(start // size, -(-end // size)):
            overlap = min(end, (target + 1) * size) - max(start, target * size)
            heights[target] += int(count) * overlap
    return heights


def _three_digits(number: float) -> str:
    if number >= 99.95:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 9.995 else f"{number:.2f}"

"""Cells of the used columns: the check at the door. Inside, everything is finite and of one type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path

import numpy as np

from gaecli.array_types import Array, BoolArray, IndexArray
from gaecli.columns import flag_of
from gaecli.errors import DataError
from gaecli.formats.base import Column
from gaecli.layouts.evidence.tails import is_tail
from gaecli.names import ALIASES
from gaecli.records import dataclass
from gaecli.shell_words import word

#: Says where a cell is, e.g. "row 48213 (episode 17, step 212)", from its index in the block.
Locate = Callable[[int], str]


#: What numbers are that play no role, but say how much of what follows a step counts.
_DECAY = "decay"


class UnfilledTail(DataError):
    """From some step on all cells are such that they cannot be used."""


@dataclass(frozen=True)
class Cells:
    """Access to the cells of one block, with what an error message needs to know."""

    path: Path
    locate: Locate
    #: `--on-nan drop-episode`: unusable cells mark their trajectory instead of raising.
    drops: bool = False
    #: Column -> role of the flags in which 0 says what 1 says in others.
    inverted: Mapping[str, str] = field(default_factory=dict)
    #: Where the cells of one trajectory after the other stop; None: of all of them at the end.
    stops: IndexArray | None = None
    #: So many trajectories stand side by side, cell by cell: `stops` are where they would if each stood by itself.
    num_abreast: int = 1
    #: There is a row per step: those that are none can be told by a mask, and stay where they are.
    is_table: bool = False
    #: What stands beside the rewards, to tell rows that hold nothing from those that lack one number.
    value: Column | None = None

    def numbers(
        self, column: Column, name: str, role: str, used: BoolArray | None = None
    ) -> tuple[Array, BoolArray | None]:
        """Values of a reward or value column, and where they cannot be used (None: all can)."""
        values = _numeric(column.values)
        bad = _not_finite(values)
        if column.is_null is not None:
            bad = column.is_null if bad is None else bad | column.is_null
        if bad is not None and used is not None:
            bad = bad & used
        if bad is None or not bad.any():
            return values, None
        if not self.drops:
            raise self._unusable(column, name, role, values, bad)
        return np.where(bad, values.dtype.type(0), values), bad

    def values(
        self, columns: Mapping[str, Column], name: str | None, num_steps: int, used: BoolArray | None = None
    ) -> tuple[Array, BoolArray | None]:
        """V(sₜ) as `numbers`; 0 where no column has it, for estimators that can do without."""
        if name is None:
            return np.zeros(num_steps, np.float32), None
        return self.numbers(columns[name], name, "value", used)

    def fractions(self, column: Column, name: str, used: BoolArray | None) -> tuple[Array, BoolArray | None]:
        """Numbers in [0, 1], as γ and λ are; 0 where no step needs one."""
        values, bad = self.numbers(column, name, _DECAY, used)
        odd = ~((values >= 0) & (values <= 1))  # NaN as well
        if not odd.any():
            return values, bad
        wrong = odd if used is None else odd & used
        if wrong.any():
            number = values[np.argmax(wrong)]
            raise self._error(
                name, f"is {number:g}, which is no γ or λ,", wrong, hint="both lie in [0, 1] at every step"
            )
        return np.where(odd, values.dtype.type(0), values), bad

    def optional_numbers(self, column: Column, name: str) -> Array:
        """Next values: null and NaN both say "not given here"; they come back as NaN."""
        values = _numeric(column.values)
        if values.dtype.kind != "f":
            values = values.astype(np.float64)
        if column.is_null is not None:
            values = np.where(column.is_null, values.dtype.type(np.nan), values)
        return values

    def check_next_values(self, values: Array, used: BoolArray, name: str) -> BoolArray | None:
        """Infinite next values are an error where they are used."""
        if not np.isinf(values).any():
            return None
        bad = np.isinf(values) & used
        if not bad.any():
            return None
        if not self.drops:
            raise self._error(name, "is infinite", bad, hint=DROP_HINT)
        return bad

    def check_range(self, values: Array, name: str, lowest: float, highest: float) -> None:
        """A number that cannot be what the column is said to hold is an error, whatever becomes of its episode."""
        if not values.size or (values.min() >= lowest and values.max() <= highest):
            return
        odd = (values < lowest) | (values > highest)
        found = values.reshape(-1)[int(np.argmax(odd))]
        raise self._error(
            name,
            f"is {found:.6g}, where {'nothing below 0' if found < lowest else 'no probability above 1'} can be,",
            odd,
            hint="name the column of this role by its flag, or repair the file",
        )

    def mask(self, column: Column, name: str) -> BoolArray:
        """True for steps that take part, by the same rules as `flags`."""
        return self.flags(column, name, is_mask=True)[0]

    def flags(
        self, column: Column, name: str, *, is_mask: bool = False
    ) -> tuple[BoolArray, BoolArray | None]:
        """A flag column as bool, True for yes; only 0, 1, False and True are flags.

        Of inverted ones 0 is yes, and what stands for no may be a discount.
        """
        values = column.values
        bad = column.is_null
        if values.dtype != np.bool_:
            if values.dtype.kind == "f" and np.isnan(values).any():
                bad = np.isnan(values) if bad is None else bad | np.isnan(values)
                values = np.where(bad, values.dtype.type(0), values)
            if name in self.inverted:
                self._check_inverted(values, bad, name)
                values = values != 0
            odd = (values != 0) & (values != 1)
            if column.is_null is not None:
                odd &= ~column.is_null
            if odd.any():
                from gaecli.layouts.evidence.valued import likely_number

                found = values.reshape(-1)[int(np.argmax(odd))]
                if is_mask:
                    hint = (
                        f"a mask is 0 or 1; `--mask-column {word(f'{name}!={_of_no_step(values):g}')}` takes cells "
                        "of any other value for steps"
                    )
                else:
                    hint = f"end-of-episode flags are 0 or 1; name another column with `{_option_of(name)}`"
                    if (likely := likely_number(values)) is not None:
                        value = word(f"{name}={likely}")
                        hint += f", or the value that stands for an end: `{_option_of(name)} {value}`"
                raise self._error(name, f"is {found!s}, which is not a flag (0 or 1),", odd, hint=hint)
            values = values != 0
        if name in self.inverted:
            values = ~values
        if bad is not None and bad.any():
            if not self.drops:
                value = word(f"{name}={'True' if column.values.dtype == np.bool_ else 1}")
                flag, what = ("--mask-column", "step") if is_mask else (_option_of(name), "end")
                hint = f"{DROP_HINT}; `{flag} {value}` if what is missing is no {what}"
                raise self._error(name, "is null or NaN", bad, hint=hint)
            return values & ~bad, bad
        return values, None

    def _check_inverted(self, values: Array, bad: BoolArray | None, name: str) -> None:
        """0, and one number that stands for "not ended": 1, or the discount γ."""
        used = values if bad is None else np.where(bad, values.dtype.type(0), values)
        level = level_of(Column(used))
        if level is None:
            return
        odd = (used != 0) & ((used != level) | (used < 0) | (used > 1))
        if odd.any():
            index = int(np.argmax(odd))
            role = self.inverted[name]
            raise self._error(
                name,
                f"is {used.reshape(-1)[index]!s} beside {level:.6g}, so that it is no inverted flag (0 where it "
                "ends, and 1 or γ elsewhere),",
                odd,
                hint=f"pass `--gamma-column {word(name)}` if it is a discount that changes by the step, or "
                f"`{flag_of(role)} none` if the column does not say where episodes end",
            )

    def _unusable(self, column: Column, name: str, role: str, values: Array, bad: BoolArray) -> DataError:
        index = int(np.argmax(bad))
        if column.is_null is not None and column.is_null.reshape(-1)[index]:
            what = "is null"
        else:
            what = "is NaN" if np.isnan(values.reshape(-1)[index]) else "is infinite"
        hint = DROP_HINT if role == _DECAY else f"{DROP_HINT}, or name another column with `{flag_of(role)}`"
        if what == "is infinite" or not (self.is_table or self.stops is not None):
            return self._error(name, what, bad, hint=hint)
        from gaecli.layouts.evidence.missing_rows import are_padding, padding_mask

        test = padding_mask(name, column, is_table=self.is_table)
        holds_nothing = role == "reward" and are_padding(column, self.value)
        return self._error(name, what, bad, hint=hint, padding=test, is_likely=holds_nothing)

    def _error(
        self,
        name: str,
        what: str,
        bad: BoolArray,
        hint: str,
        padding: str | None = None,
        is_likely: bool = False,
    ) -> DataError:
        """`padding`: the flags that leave such cells out. `is_likely`: they look like it."""
        count = int(np.count_nonzero(bad))
        place = self.locate(int(np.argmax(bad)))
        message = f"`{name}` {what} at {place} of `{self.path}`; {count:,} such in all"
        if is_tail(bad.reshape(-1, self.num_abreast).T.reshape(-1), self.stops):
            others = hint.removeprefix("repair the file, or ")
            if padding is not None:
                others = f"pass `{padding}` if they are padding, or {others}"
            return UnfilledTail(
                f"{message}, and no other behind them: a buffer that was saved before it was full looks like this",
                hint=f"leave these rows out of the file, or {others}",
            )
        if padding is not None and is_likely:
            hint = f"pass `{padding}` if such cells are padding; else {hint}"
        return DataError(message, hint=hint)


def _option_of(name: str) -> str:
    """That of the role which a flag has by its name."""
    names = {name.lower(), name.lower().rpartition(".")[2]}
    return flag_of(
        next((role for role in ("terminated", "truncated") if not names.isdisjoint(ALIASES[role])), "done")
    )


def level_of(column: Column) -> float | None:
    """What an inverted flag holds where nothing ends: 1, or γ; None: nothing but 0."""
    values = column.values.reshape(-1)
    says_no = np.isfinite(values) & (values != 0)
    return float(values[np.argmax(says_no)]) if says_no.any() else None


DROP_HINT = "repair the file, or pass `--on-nan drop-episode` to leave such episodes out"


def _numeric(values: Array) -> Array:
    """float32 and float64 as they are; everything else exactly as float64 (float16 as float32)."""
    if values.dtype in (np.float32, np.float64):
        return values
    return values.astype(np.float32 if values.dtype == np.float16 else np.float64)


def _not_finite(values: Array) -> BoolArray | None:
    # The extremes are not finite if any number is not, and cost no array of flags: the common case ends here.
    if not values.size or (np.isfinite(values.min()) and np.isfinite(values.max())):
        return None
    bad = ~np.isfinite(values)
    return bad if bad.any() else None


def spread_to_trajectories(
    bad: Sequence[BoolArray], cuts: BoolArray, lane_stops: IndexArray
) -> BoolArray | None:
    """[N] True on every step of a trajectory that holds a bad cell (`--on-nan drop-episode`); None if there is none.

    The end of a lane ends its trajectory as far as this block goes; whether the rest of it, in
    another block, is dropped too is settled when the blocks are combined.
    """
    if not bad or not any(part.any() for part in bad):
        return None
    marked = np.logical_or.reduce(list(bad))
    is_last = cuts.copy()
    is_last[lane_stops - 1] = True
    trajectory = np.concatenate(([0], np.cumsum(is_last[:-1])))
    is_bad = np.zeros(int(trajectory[-1]) + 1, np.bool_)
    is_bad[trajectory[marked]] = True
    dropped: BoolArray = is_bad[trajectory]
    return dropped


def _of_no_step(values: Array) -> float:
    """What may stand for it: a number below 0, as -100 among ids of tokens, or the last one, which may be padding."""
    lowest = values.min()
    return float(lowest if lowest < 0 else values.reshape(-1)[-1])

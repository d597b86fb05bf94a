"""`--stream`: several kinds of reward, each with values, γ and λ of its own, whose advantages are added up.

    A = Σ wᵢ Aᵢ          Rᵢ = Aᵢ + Vᵢ

Plain data and checks below `gaecli.settings`: extrinsic and intrinsic rewards of RND (Burda et al. 2018, sec. 2.3,
https://arxiv.org/abs/1810.12894), costs beside rewards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any, Literal, Protocol

from gaecli.decay_settings import is_number
from gaecli.errors import UsageError
from gaecli.estimator_kinds import EstimatorKind
from gaecli.records import dataclass

#: Its trajectories end where those of the file do, or never: ends and flags are nothing to it.
Cut = Literal["ends", "never"]

_EXAMPLE = "`--stream ext=reward,value,0.999,0.95,2 --stream int=int_reward,int_value,0.99,0.95,1,cut=never`"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_NUMBERS = ("gamma", "lam", "weight")
#: In this order where they are not named.
_IN_ORDER = ("reward", "value", *_NUMBERS)
_KEYS = {"next": "next_value", "bootstrap": "bootstrap_value"}


@dataclass(frozen=True)
class RewardStream:
    """One of them. γ and λ are those of the run where they are None."""

    name: str
    reward: str
    value: str
    gamma: float | None = None
    lam: float | None = None
    weight: float = 1.0
    cut: Cut = "ends"
    #: Columns with V of the next state, and beyond the ends; nothing is taken for them by its name.
    next_value: str | None = None
    bootstrap_value: str | None = None

    @property
    def columns(self) -> dict[str, str]:
        """Role -> column, or `none`."""
        found = {
            "reward": self.reward,
            "value": self.value,
            "next_value": self.next_value or "none",
            "bootstrap_value": self.bootstrap_value or "none",
        }
        return found | dict.fromkeys(_OF_ENDS, "none") if self.cut == "never" else found

    @property
    def text(self) -> str:
        """As `--stream` takes it."""
        numbers = [f"{name}={getattr(self, name):g}" for name in _NUMBERS if getattr(self, name) is not None]
        more = [f"{key}={name}" for key, role in _KEYS.items() if (name := getattr(self, role)) is not None]
        never = ["cut=never"] if self.cut == "never" else []
        return f"{self.name}={','.join([self.reward, self.value, *numbers, *never, *more])}"


#: What tells trajectories of one environment apart: nothing does where they never end.
_OF_ENDS = (
    *("done", "terminated", "truncated", "not_done", "not_truncated", "final_done"),
    *("episode", "step"),
)


class _WithStreams(Protocol):
    """The fields of `Settings` that are looked at here."""

    @property
    def kind(self) -> EstimatorKind: ...

    @property
    def stream(self) -> tuple[RewardStream, ...]: ...

    @property
    def columns(self) -> Mapping[str, str]: ...

    @property
    def on_nan(self) -> str: ...

    @property
    def gamma_column(self) -> str | None: ...

    @property
    def lam_column(self) -> str | None: ...


def parsed(given: Any) -> tuple[RewardStream, ...]:
    """Texts as `--stream` takes them, mappings, or what they make; that which follows the ends first."""
    if isinstance(given, str | Mapping | RewardStream):
        given = [given]
    if not isinstance(given, Iterable):
        raise UsageError(f"`--stream` is {given!r}; it takes texts", hint=f"such as {_EXAMPLE}")
    found = [_one(one) for one in given]
    return tuple(sorted(found, key=lambda one: one.cut == "never"))


def _one(given: Any) -> RewardStream:
    if isinstance(given, RewardStream):
        return given
    if isinstance(given, Mapping):
        unknown = set(given) - {field.name for field in fields(RewardStream)}
        if unknown or not {"name", "reward", "value"} <= set(given):
            raise UsageError(f"`--stream` is {dict(given)}", hint="it has a name, a reward and a value")
        return RewardStream(**given)
    text = str(given)
    name, equals, rest = text.partition("=")
    items: dict[str, Any] = {}
    for position, item in enumerate(rest.split(",")):
        key, named, value = item.partition("=")
        if not named:
            key, value = (_IN_ORDER[position] if position < len(_IN_ORDER) else ""), item
        key = _KEYS.get(key, key)
        if key not in (*_IN_ORDER, "cut", *_KEYS.values()) or key in items or not value:
            raise UsageError(
                f"`--stream {text}` has {item!r}, which is none of reward, value, gamma, lam, weight, cut, next and "
                "bootstrap, or a second one",
                hint=f"name=REWARD,VALUE[,GAMMA[,LAM[,WEIGHT]]], such as {_EXAMPLE}",
            )
        items[key] = _number(value, key, text) if key in _NUMBERS else value
    if not equals or not {"reward", "value"} <= items.keys():
        raise UsageError(
            f"`--stream {text}` has no name, reward and value",
            hint=f"name=REWARD,VALUE[,GAMMA[,LAM[,WEIGHT]]], such as {_EXAMPLE}",
        )
    return RewardStream(name, **items)


def _number(text: str, key: str, whole: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"`--stream {whole}`: {key} is `{text}`; it must be a number") from error


def check_streams(settings: _WithStreams) -> None:
    streams = settings.stream
    if not streams:
        return
    kind = settings.kind
    if not kind.has_streams:
        raise UsageError(
            f"`--stream` says nothing to `--estimator {kind.name}`", hint="drop one of them; `gae` takes it"
        )
    for one in streams:
        _check_one(one, settings)
    names = [one.name for one in streams]
    if len(set(names)) < len(names):
        raise UsageError(f"two of `--stream` have one name: {', '.join(names)}", hint="name each differently")
    if getattr(settings, "success_column", None) is not None:
        raise UsageError(
            "`--stream` names rewards, and `--success-column` makes them", hint="drop one of them"
        )
    if streams[0].cut == "never":
        raise UsageError(
            "no stream follows the ends of episodes, which every one has `cut=never` for",
            hint="drop `cut=never`, and pass `--done-column none` with `--layout` if nothing ends in the file",
        )
    named = [role for role, name in settings.columns.items() if streams[0].columns.get(role, name) != name]
    if named:
        flag = f"--{named[0].replace('_', '-')}-column"
        raise UsageError(
            f"`{flag}` is of one kind of reward, and `--stream` names the columns of several",
            hint=f"drop `{flag}`; `next=COLUMN` and `bootstrap=COLUMN` go into `--stream`",
        )
    if settings.on_nan == "drop-episode" and any(one.cut == "never" for one in streams):
        raise UsageError(
            "`--on-nan drop-episode` leaves out episodes, and a stream with `cut=never` has none",
            hint="repair the file, and drop `--on-nan`",
        )


def _check_one(one: RewardStream, settings: _WithStreams) -> None:
    whole = f"--stream {one.text}"
    if not _NAME.fullmatch(str(one.name)):
        raise UsageError(f"`{whole}`: `{one.name}` is no name", hint="letters, digits, `_`, `-` and `.`")
    if one.cut not in ("ends", "never"):
        raise UsageError(f"`{whole}`: cut is `{one.cut}`; it must be ends or never")
    for key in ("gamma", "lam"):
        number = getattr(one, key)
        if number is None:
            continue
        if not (is_number(number) and 0.0 <= number <= 1.0):
            raise UsageError(f"`{whole}`: {key} is {number}; it must lie in [0, 1]")
        if getattr(settings, f"{key}_column") is not None:
            raise UsageError(
                f"`{whole}` has a {key} of its own, and `--{key}-column` has one for each step",
                hint="drop one of them",
            )
    if not is_number(one.weight):
        raise UsageError(f"`{whole}`: weight is {one.weight}; it must be finite")


def as_documents(streams: Iterable[RewardStream]) -> list[dict[str, Any]]:
    """Without what is not said."""
    return [{name: value for name, value in asdict(one).items() if value is not None} for one in streams]

"""`--stream`: several kinds of reward, each with values, γ and λ of its own, whose advantages are added up.

    A = Σ wᵢ Aᵢ          Rᵢ = Aᵢ + Vᵢ

Extrinsic and intrinsic rewards of RND (Burda et al. 2018, sec. 2.3,
https://arxiv.org/abs/1810.12894), costs beside rewards.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Literal

from gaecli.records import dataclass

#: Its trajectories end where those of the file do, or never: ends and flags are nothing to it.
Cut = Literal["ends", "never"]

NUMBERS = ("gamma", "lam", "weight")
KEYS = {"next": "next_value", "bootstrap": "bootstrap_value", "q": "q"}


@dataclass(frozen=True)
class RewardStream:
    """One of them. γ and λ are those of the run where they are None."""

    name: str
    reward: str
    #: None where the estimator needs none.
    value: str | None = None
    gamma: float | None = None
    lam: float | None = None
    weight: float = 1.0
    cut: Cut = "ends"
    #: Columns with V of the next state, and beyond the ends; nothing is taken for them by its name.
    next_value: str | None = None
    bootstrap_value: str | None = None
    #: Column with Q(s, a) of its rewards, for estimators that correct it.
    q: str | None = None

    @property
    def columns(self) -> dict[str, str]:
        """Role -> column, or `none`."""
        found = {
            "reward": self.reward,
            "value": self.value or "none",
            "next_value": self.next_value or "none",
            "bootstrap_value": self.bootstrap_value or "none",
        }
        found |= {} if self.q is None else {"q": self.q}
        return found | dict.fromkeys(_OF_ENDS, "none") if self.cut == "never" else found

    @property
    def text(self) -> str:
        """As `--stream` takes it, without a weight that says nothing."""
        numbers = [
            f"{name}={number:g}"
            for name in NUMBERS
            if (number := getattr(self, name)) is not None and (name, number) != ("weight", 1.0)
        ]
        more = [f"{key}={name}" for key, role in KEYS.items() if (name := getattr(self, role)) is not None]
        never = ["cut=never"] if self.cut == "never" else []
        values = [] if self.value is None else [self.value]
        return f"{self.name}={','.join([self.reward, *values, *numbers, *never, *more])}"


#: What tells trajectories of one environment apart: nothing does where they never end.
_OF_ENDS = (
    *("done", "terminated", "truncated", "not_done", "not_truncated", "final_done"),
    *("episode", "step"),
)


def as_documents(streams: Iterable[RewardStream]) -> list[dict[str, Any]]:
    """Without what is not said."""
    return [{name: value for name, value in asdict(one).items() if value is not None} for one in streams]

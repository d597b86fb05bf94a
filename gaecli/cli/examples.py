"""What people type: the end of each help page. `tests/cli/test_help_pages.py` runs all of them on sample data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Example(NamedTuple):
    #: What it is for.
    purpose: str
    command: str


#: By command; those of `gae` itself under the empty name.
EXAMPLES: Mapping[str, Sequence[Example]] = {
    "": (
        Example("Which command does a file take, and why?", "gae doctor rollouts.parquet"),
        Example("What is in a file, and what would be done with it?", "gae inspect rollouts.parquet"),
        Example("Write `advantage` and `return` into it.", "gae compute rollouts.parquet"),
        Example("Is anything wrong with the data?", "gae check runs/"),
    ),
    "compute": (
        Example("Into the file itself; `gae strip` is the way back.", "gae compute rollouts.parquet"),
        Example(
            "All files of a folder, normalised together, elsewhere.",
            "gae compute runs/ --normalize all -o out/",
        ),
        Example(
            "As Stable-Baselines3 does it; show, write nothing.",
            "gae compute rollouts.parquet --preset sb3 --dry-run",
        ),
        Example(
            "GRPO advantages of what TRL logs; `gae inspect` says the command for a log.",
            "gae compute completions.parquet --preset trl --estimator grpo \\\n"
            "    --group-column step --group-column prompt --reward accuracy_reward \\\n"
            "    --advantage-column mine",
        ),
    ),
    "doctor": (
        Example("What is to be done with a file?", "gae doctor rollouts.parquet"),
        Example("All of it as one document.", "gae doctor rollouts.parquet --json"),
        Example(
            "A log of responses: the command of the library that wrote it.", "gae doctor completions.parquet"
        ),
    ),
    "inspect": (
        Example("Columns, roles, episodes, and what a run would do.", "gae inspect rollouts.parquet"),
        Example(
            "The episodes, and the first five steps.", "gae inspect rollouts.parquet --episodes --head 5"
        ),
        Example("Many files, a line each.", "gae inspect runs/"),
    ),
    "check": (
        Example("All rules.", "gae check runs/"),
        Example("In GitHub Actions; warnings fail, too.", "gae check runs/ --strict --output-format github"),
        Example("The command with the flags that deal with findings.", "gae check rollouts.parquet --fix"),
        Example("Which rules there are.", "gae check --list"),
    ),
    "explain": (
        Example("The advantage in a row.", "gae explain rollouts.parquet --row 57"),
        Example("Of a step of an episode.", "gae explain rollouts.parquet --episode 0 --step 3 --env 0"),
        Example("Another estimator's number.", "gae explain rollouts.parquet --row 57 --estimator mc"),
    ),
    "sweep": (
        Example("Every λ from 0 to 1, under two γ.", "gae sweep rollouts.parquet --gamma 0.95,0.99"),
        Example(
            "A column for each setting, in a copy.",
            "gae sweep rollouts.parquet --lam 0.9,0.95 -o swept.parquet",
        ),
        Example(
            "Libraries side by side.",
            "gae sweep completions.parquet --estimator grpo,rloo \\\n"
            "    --group-column step --group-column prompt --reward accuracy_reward",
        ),
    ),
    "verify": (
        Example("Which library, γ and λ made the column?", "gae verify rollouts.parquet --against advantage"),
        Example(
            "Does it follow this one, and where not?",
            "gae verify rollouts.parquet --against return --preset sb3",
        ),
    ),
    "diff": (
        Example("What do two libraries make of a file?", "gae diff rollouts.parquet --preset exact,brax"),
        Example("`advantage` of two files.", "gae diff rollouts.parquet other.parquet"),
        Example("Two columns of a file.", "gae diff rollouts.parquet --columns advantage,return"),
    ),
    "report": (
        Example("A page beside the file: `rollouts.report.html`.", "gae report rollouts.parquet"),
        Example("Elsewhere, with 50 episodes.", "gae report rollouts.parquet -o page.html --episodes 50"),
    ),
    "show": (
        Example("Episodes and their curves, the strangest first; `q` quits.", "gae show rollouts.parquet"),
        Example("Under another γ, with 50 episodes.", "gae show rollouts.parquet --gamma 0.9 --episodes 50"),
    ),
    "status": (
        Example("What is left of `gae compute runs/ -o out/`?", "gae status runs/ -o out/"),
        Example("Of files that were written in place.", "gae status runs/"),
    ),
    "strip": (
        Example("Which files have columns of gaecli's?", "gae strip runs/ --dry-run"),
        Example("Back to what it was.", "gae strip rollouts.parquet"),
    ),
    "presets": (
        Example("All.", "gae presets"),
        Example("One: equation, flags, traps.", "gae presets sb3"),
    ),
}

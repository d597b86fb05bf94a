"""What a run found, as lines for the JSON and as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Findings:
    """In the order in which it was found."""

    machine: dict[str, Any] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def figure(self, name: str, seconds: float, steps: int, **more: Any) -> float:
        self.figures.append({"name": name, "seconds": seconds, "steps": steps, **more})
        return seconds

    def at_most(self, name: str, found: float | None, bound: float) -> None:
        """A target. None: it was not measured."""
        self._target(name, f"<= {bound:g}", found, None if found is None else found <= bound)

    def at_least(self, name: str, found: float | None, bound: float) -> None:
        self._target(name, f">= {bound:g}", found, None if found is None else found >= bound)

    def is_so(self, name: str, found: bool | None) -> None:
        self._target(name, "yes", found, found)

    def _target(self, name: str, wanted: str, found: Any, met: bool | None) -> None:
        self.targets.append({"target": name, "wanted": wanted, "found": found, "met": met})

    @property
    def wrong(self) -> list[dict[str, Any]]:
        return [line for line in self.checks if not line["ok"]]

    def lines(self) -> list[str]:
        """Tables of Markdown, to be read on a terminal as well."""
        machine = dict(self.machine)
        about = ", ".join(f"{name} {found}" for name, found in machine.items() if name != "name")
        worst = max((line.get("error", 0.0) for line in self.checks if line["ok"]), default=0.0)
        num_right = len(self.checks) - len(self.wrong)
        return [
            "",
            f"{machine['name']}: {about}",
            "",
            f"right: {num_right} of {len(self.checks)} checks, off by at most {worst:.2g}",
            *(f"  WRONG  {line['check']}: {line['error']}" for line in self.wrong),
            "",
            "| what | ms | ns a step | of a copy |",
            "|---|---:|---:|---:|",
            *map(_figure_line, self.figures),
            "",
            "| target | wanted | found | |",
            "|---|---|---:|---|",
            *map(_target_line, self.targets),
            *(f"\nleft out: {line}" for line in self.left_out),
            "",
            *self._break_even_lines(),
        ]

    def _break_even_lines(self) -> list[str]:
        if "break_even_steps" not in self.machine:
            return ["from how many steps on `--device auto` takes a GPU: not measured"]
        steps, name = self.machine["break_even_steps"], self.machine["name"]
        found = None if steps is None else f"{steps:_}"
        because = "it saves nothing" if steps is None else f"its start pays from {steps:,} steps on"
        return [
            f"a GPU for arrays on the host: {because}; to set in gaecli/kernels/devices.py:",
            f'    BREAK_EVEN = {{"cuda": BreakEven({found}, measured_on={name!r})}}',
        ]


def _figure_line(line: dict[str, Any]) -> str:
    of_copy = f"{line['of_copy']:.2f}" if "of_copy" in line else ""
    per_step = line["seconds"] / line["steps"] * 1e9
    return f"| {line['name']} | {line['seconds'] * 1e3:.4g} | {per_step:.4g} | {of_copy} |"


def _target_line(line: dict[str, Any]) -> str:
    found = line["found"]
    shown = (
        ""
        if found is None
        else {True: "yes", False: "no"}[found]
        if found in (True, False)
        else f"{found:.3g}"
    )
    met = {None: "not measured", True: "met", False: "not met"}[line["met"]]
    return f"| {line['target']} | {line['wanted']} | {shown} | {met} |"

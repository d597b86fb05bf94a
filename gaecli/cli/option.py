"""A row of the table of options, and short ways to write one."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from gaecli.errors import UsageError


class Option(NamedTuple):
    """One row of the table. To typer all values are text, as the shell gives them; `value` converts."""

    #: Of the settings field, role or run option that it fills, else of the command's parameter.
    name: str
    help: str
    #: Where the help page has it; None for arguments.
    panel: str | None
    #: For what stands behind the flag: none for a switch.
    metavar: str | None = None
    #: `...` of what has to be given.
    default: Any = None
    #: All spellings, with blanks between; `--name`, if there are none here.
    flags: str = ""
    kind: type[str] | type[int] | type[float] | type[bool] | type[list[str]] = str
    #: Where it goes; what commands share otherwise stays with `Given`, the rest is the command's own.
    fills: Literal["setting", "role", "run", "given", "own"] = "own"

    @property
    def spellings(self) -> list[str]:
        return self.flags.split() or ["--" + self.name.replace("_", "-")]

    def value(self, given: Any) -> Any:
        """What was given, as a number if it is one. Not typer's own way, whose error does not show the text."""
        if given is None or self.kind not in (int, float):
            return given
        try:
            return self.kind(given)
        except ValueError as error:
            what = "a whole number" if self.kind is int else "a number"
            raise UsageError(f"`{self.spellings[0]}` is `{given}`; it must be {what}") from error


def number(name: str, help: str, panel: str, kind: type[int] | type[float], **more: Any) -> Option:
    metavar = more.pop("metavar", "N" if kind is int else "NUMBER")
    return Option(name, help, panel, metavar, kind=kind, **more)


def switch(name: str, help: str, panel: str, **more: Any) -> Option:
    return Option(name, help, panel, kind=bool, **{"default": False, **more})

"""From a list of options to a command: the signature that typer reads, and what was given, put together."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from gaecli.cli import defaults
from gaecli.cli.files_from import names_from
from gaecli.cli.option import Option
from gaecli.cli.options import OPTIONS
from gaecli.cli.values import parse_size
from gaecli.errors import UsageError
from gaecli.heap import keep_freed_memory
from gaecli.progress import Progress
from gaecli.settings import RunOptions, Settings

#: Set by the scripts that `--install-completion` installs, where a shell asks.
_COMPLETION = "_GAE_COMPLETE"


class Given:
    """What the options of one command were given. Nothing is checked before it is asked for."""

    def __init__(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        self._settings = dict(values["setting"])
        self._columns = values["role"]
        self._run = values["run"]
        self._shared = values["given"]

    def __getitem__(self, name: str) -> Any:
        """A run option, to a command that has not all of them."""
        return self._run[name]

    def taken(self, names: Iterable[str]) -> dict[str, Any]:
        """Settings that the command takes as its own: they are left out of `settings`."""
        return {name: self._settings.pop(name) for name in names}

    def taken_columns(self, roles: Iterable[str]) -> dict[str, str | None]:
        """The same of columns, by their role."""
        found = {role: self._columns[role] for role in roles if role in self._columns}
        self._columns = {role: name for role, name in self._columns.items() if role not in found}
        return found

    def settings(
        self,
        more: Mapping[str, Any] | None = None,
        *,
        of_groups: str | None = None,
        beside: Sequence[str] = (),
    ) -> Settings:
        """With `more`, which the command makes of options of its own.

        `of_groups`: the estimator that is meant where groups are named and no estimator is.
        `beside`: estimators to which the same is said; each takes what says something to it.
        """
        explicit = {**self._settings, **(more or {})}
        if of_groups is not None and explicit.get("group_column") and explicit.get("estimator") == "gae":
            explicit["estimator"] = of_groups
        preset = explicit.pop("preset", "exact")
        named = {role: name for role, name in self._columns.items() if name is not None}
        explicit["columns"] = {**named, **explicit.get("columns", {})}
        if len(beside) > 1:
            from gaecli.several_estimators import said_to

            explicit = said_to(explicit["estimator"], explicit, beside)
        return Settings.from_preset(preset, **explicit)

    def run_options(self, *, gallery: bool = False) -> RunOptions:
        return RunOptions(**self._run, memory_bytes=self.memory_bytes, gallery=gallery)

    @property
    def memory_bytes(self) -> int:
        return parse_size(self._shared["memory"])

    @contextlib.contextmanager
    def progress(self, *, quiet: bool = False) -> Iterator[Progress | None]:
        """What a run tells how far it is, shown while the block lasts; None where nobody wants to know."""
        if quiet or self._shared["no_progress"]:
            yield None
            return
        from gaecli.report.progress import ProgressLine, is_watched

        if not is_watched(sys.stderr):
            yield None
            return
        progress = Progress()
        with ProgressLine(progress):
            yield progress

    def sources(self, usage: str, *, stdin: bool = True) -> list[str]:
        """All inputs; `usage` says how to name some. Where none is: what is piped in, if it reads `stdin`."""
        inputs = self._shared["inputs"] or []
        sources = [*inputs, *names_from(self._shared["files_from"], inputs)]
        return sources or [_piped(usage, stdin=stdin)]

    def source(self, input: str | None, usage: str) -> str:
        """The same of a command that has one input."""
        return _piped(usage) if input is None else input


def _piped(usage: str, *, stdin: bool = True) -> str:
    from gaecli.cli.piped import is_fed

    if not stdin or not is_fed():
        raise UsageError("no input given", hint=usage)
    return "-"


#: Of advantages, which not every estimator writes.
_OF_ADVANTAGES = ("normalize", "normalize_by", "norm_ddof", "norm_eps", "norm_floor", "keep_raw")


def _without_unheard(texts: dict[str, Any], options: Mapping[str, Option]) -> None:
    """Defaults of a project that say nothing to the estimator are as if they were not there."""
    estimator = texts.get("estimator")
    if not isinstance(estimator, str):
        return
    from gaecli.estimator_kinds import ESTIMATORS, estimator_name
    from gaecli.several_estimators import said_to

    name = estimator_name(estimator)
    given = {key: texts[key] for key in defaults.used if options[key].fills == "setting"}
    kept = said_to(name, given, list(ESTIMATORS))
    if name in ESTIMATORS and "advantage" not in ESTIMATORS[name].outputs:
        kept = {key: value for key, value in kept.items() if key not in _OF_ADVANTAGES}
    for key in given.keys() - kept.keys():
        texts[key] = options[key].default
        defaults.used.pop(key)


def command(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command with these options of the table (blanks between them), in this order on its help page.

    The function below takes what was `Given`, and by name the options that are the command's own.
    """
    options = {name: OPTIONS[name] for some in names for name in some.split()}

    def decorate(run: Callable[..., None]) -> Callable[..., None]:
        def call(**texts: Any) -> None:
            if defaults.used:
                _without_unheard(texts, options)
            _tell_defaults(is_quiet=bool(texts.get("quiet")))
            values: dict[str, dict[str, Any]] = {
                fills: {} for fills in ("setting", "role", "run", "given", "own")
            }
            for name, option in options.items():
                values[option.fills][option.name] = option.value(texts[name])
            keep_freed_memory()
            try:
                run(Given(values), **values["own"])
            except UsageError as error:
                told = _told_by_the_file(error, f"gae {run.__name__}", options, texts)
                if told is error:
                    raise
                raise told from error

        call.__name__, call.__doc__ = run.__name__, run.__doc__
        vars(call)["__signature__"] = inspect.Signature(
            [_parameter(name, option) for name, option in options.items()]
        )
        return call

    return decorate


def _tell_defaults(*, is_quiet: bool) -> None:
    """On stderr, before anything is done with them."""
    for line in [] if is_quiet else defaults.told():
        sys.stderr.write(f"{line}\n")


#: What the command of a known log says itself, and what is no option.
_OF_LOGS = (
    *("inputs", "input", "files_from", "estimator", "swept_estimators", "only_estimator"),
    *("preset", "swept_presets", "only_preset", "rewards", "reward", "layout", "advantage_column"),
)


def _told_by_the_file(
    error: UsageError, command: str, options: Mapping[str, Option], texts: Mapping[str, Any]
) -> UsageError:
    """Settings are checked before a file is opened; which groups it has a file may say."""
    from gaecli.group_settings import GroupsNeededError

    if not isinstance(error, GroupsNeededError):
        return error
    from gaecli.commands.known_logs import with_command

    by_name = {option.name: texts[name] for name, option in options.items()}

    def given(*names: str) -> Any:
        return next((by_name[name] for name in names if name in by_name), None)

    typed = [
        word
        for name, option in options.items()
        if option.name not in _OF_LOGS and texts[name] != option.default
        for word in _as_typed(option, texts[name])
    ]
    sources = given("inputs", "input") or []
    estimators, presets = given("estimator", "swept_estimators"), given("preset", "swept_presets")
    return with_command(
        error,
        command,
        [sources] if isinstance(sources, str) else sources,
        typed,
        error.estimator if estimators in (None, "gae") else estimators,
        None if presets == "exact" else presets,
        given("rewards") or given("reward"),
    )


def _as_typed(option: Option, given: Any) -> list[str]:
    flag, _, negative = option.spellings[0].partition("/")
    if option.kind is bool:
        return [flag if given else negative]
    values = given if isinstance(given, list | tuple) else [given]
    return [word for value in values for word in (flag, str(value))]


def _parameter(name: str, option: Option) -> inspect.Parameter:
    """To typer all values are text, as the shell gives them, but for switches."""
    kind = str if option.kind in (int, float) else option.kind
    default = inspect.Parameter.empty if option.default is ... else option.default
    annotation = Annotated[kind, _typer_info(option)]  # type: ignore[valid-type]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _typer_info(option: Option) -> typer.models.ParameterInfo:
    info: typer.models.ParameterInfo
    complete = None
    if _COMPLETION in os.environ:
        from gaecli.cli.completion import completer

        complete = completer(option)
    if option.panel is None:
        info = typer.Argument(
            metavar=option.metavar, help=option.help, show_default=False, autocompletion=complete
        )
    else:
        info = typer.Option(
            *option.spellings,
            help=option.help,
            rich_help_panel=option.panel,
            metavar=option.metavar,
            show_default=True,
            autocompletion=complete,
        )
    return info

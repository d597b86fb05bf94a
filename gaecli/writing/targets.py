"""Where the result of each file goes, and whether that is allowed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gaecli.columns import Roles
from gaecli.datasets.tables import refuse_targets
from gaecli.errors import FileError, GaeError, UsageError
from gaecli.formats.base import RolloutFile
from gaecli.formats.registry import (
    FORMATS,
    Format,
    format_named,
    format_of,
    is_file_suffix,
    open_file,
    suffix_format,
)
from gaecli.formats.stored import own_columns
from gaecli.names import LANGUAGE
from gaecli.settings import RunOptions, Settings
from gaecli.shell_words import word
from gaecli.sources.inputs import StreamPlan
from gaecli.storage.links import check_links
from gaecli.storage.new_file import check_writable
from gaecli.storage.pipes import PIPE
from gaecli.storage.places import Places
from gaecli.writing.data_set_copies import (
    DEFAULT_TAG,
    check_parts,
    check_roots,
    harmless_sidecar,
    shares_sidecar,
)


class Target(NamedTuple):
    """The place of one result. `in_place` where it is the input itself."""

    path: Path
    in_place: bool


def plan_targets(
    streams: Sequence[StreamPlan], options: RunOptions, tag: str = DEFAULT_TAG, *, may_convert: bool = False
) -> dict[Path, Target]:
    """Input path -> target. Raises if two results would land in one place, or one in the folder of a table.

    The files of a data set share one sidecar, which has `tag` in its name. `may_convert`: a result may have another
    format than its input.
    """
    if options.output is not None:
        check_links(Path(options.output))
    elif options.to is not None:
        raise UsageError(
            "`--to` makes other files than the inputs, and nothing says where",
            hint="name a file or a directory with `--output`",
        )
    elif not options.sidecar:
        check_parts(streams)
        return {
            path: Target(_successor(path, stream), in_place=True)
            for stream in streams
            for path in stream.paths
        }
    targets = (
        _plan_sidecars(streams, options, tag)
        if options.sidecar
        else _plan_output(streams, options, may_convert=may_convert)
    )
    refuse_targets([target.path for target in targets.values()])
    return targets


def _plan_output(
    streams: Sequence[StreamPlan], options: RunOptions, *, may_convert: bool
) -> dict[Path, Target]:
    assert options.output is not None
    inputs = [(path, stream.root) for stream in streams for path in stream.paths]
    output = Path(options.output)
    check_roots(streams, output)
    if len(inputs) == 1 and not _means_directory(options.output) and not streams[0].is_root:
        path = inputs[0][0]
        _check_suffix(path, output, options.to, may_convert=may_convert)
        return {path: Target(output, in_place=_same_file(path, output))}
    if output.exists() and not output.is_dir():
        why = "has a `/` at its end" if len(inputs) == 1 else f"there are {len(inputs):,} inputs"
        raise UsageError(f"`--output {options.output}` is a file, but {why}", hint="name a directory")
    _check_folder_name(options.output, len(inputs))
    targets = {path: _renamed(output / _relative(path, root), options.to) for path, root in inputs}
    _check_distinct(targets)
    return {path: Target(target, in_place=_same_file(path, target)) for path, target in targets.items()}


def _successor(path: Path, stream: StreamPlan) -> Path:
    return path if stream.data_set is None else stream.data_set.successor(path)


def _plan_sidecars(streams: Sequence[StreamPlan], options: RunOptions, tag: str) -> dict[Path, Target]:
    num_results = sum(1 if shares_sidecar(stream) else len(stream.paths) for stream in streams)
    targets: dict[Path, Target] = {}
    distinct: dict[Path, Path] = {}
    for stream in streams:
        for path in stream.paths:
            place = _sidecar(path, stream, options, num_results, tag)
            targets[path] = Target(place, in_place=False)
            if path == stream.paths[0] or not shares_sidecar(stream):
                distinct[path] = place
    _check_distinct(distinct)
    return targets


def replaced_columns(
    file: RolloutFile, settings: Settings, *, overwrite: bool
) -> tuple[list[str], list[str]]:
    """(own, foreign) columns that the new ones take the place of. `UsageError` for foreign ones without leave."""
    own = set(own_columns(file.provenance))
    present = [name for name in settings.output_columns if name in file.columns]
    foreign = [name for name in present if name not in own]
    # Of this column what others wrote is kept, and the writer asks where labels of others are in it.
    refused = [name for name in foreign if name != LANGUAGE or settings.label_type != "language"]
    if refused and not overwrite:
        from gaecli.shell_words import file_word

        flag = settings.output_flag(refused[0])
        is_number = flag in ("--advantage-column", "--return-column")
        asked = (
            f"`gae verify {file_word(file.path)} --against {word(refused[0])}` tells what made it; "
            if is_number
            else ""
        )
        raise UsageError(
            f"`{file.path}` has a column `{refused[0]}` already, which carries no mark of gaecli's",
            hint=f"{asked}pass `--overwrite` to replace it, or write under another name with `{flag}`",
        )
    return [name for name in present if name in own], foreign


def check_output_names(file: RolloutFile, roles: Roles, settings: Settings) -> None:
    """No column that the numbers come from gives way to them, with or without leave."""
    flagged = {
        **settings.label_flags,
        **dict.fromkeys(settings.rewards, "--reward"),
        **dict.fromkeys(settings.stream_columns, "--stream"),
        **{name: flag for flag, name in settings.flagged_columns.items() if name},
    }
    used = {name: f"column of `{flag}`" for name, flag in flagged.items()}
    used |= {name: f"{role.replace('_', ' ')} of `{file.path}`" for role, name in roles.names.items()}
    for name in settings.output_columns:
        if name in used:
            raise UsageError(
                f"`{name}` is the {used[name]}: the result cannot take its place",
                hint=f"write under another name with `{settings.output_flag(name)}`",
            )


def check_language(file: RolloutFile, plan: StreamPlan, settings: Settings, *, sidecar: bool) -> None:
    """Rows of LeRobot's language column go into the data files of its sets, and nowhere else."""
    if settings.labelling is None or settings.label_type != "language":
        return
    from gaecli.datasets.lerobot import LeRobot

    if sidecar:
        raise UsageError(
            f"`--label-type language` adds rows to `{LANGUAGE}` of the data files, which a sidecar leaves alone",
            hint="drop `--sidecar`, or take `--label-type text`",
        )
    if not isinstance(plan.openers.get(file.path), LeRobot) or file.format_name != "parquet":
        raise UsageError(
            f"`--label-type language` writes `{LANGUAGE}` of a LeRobot set, and `{file.path}` is of none",
            hint="take `--label-type text` for a column of texts",
        )


def check_target(target: Target, places: Places) -> None:
    """An existing output file is replaced only if gaecli wrote it, or with leave."""
    places.results.look_up(target.path)
    check_links(target.path)
    check_writable(target.path)
    if target.in_place or places.options.overwrite or not target.path.exists():
        return
    with contextlib.suppress(GaeError):
        if open_file(target.path).provenance is not None:
            return
    raise UsageError(
        f"`{target.path}` exists", hint="pass `--overwrite`, or choose another name with `--output`"
    )


def _means_directory(output: Path | str) -> bool:
    return str(output).endswith("/") or Path(output).is_dir()


def wanted_format(file: RolloutFile, target: Target, plan: StreamPlan, options: RunOptions) -> Format | None:
    """The format of a result that is to have another one than its input: told, or promised by its name."""
    if target.in_place or options.sidecar:
        return None
    told = options.to
    wanted = suffix_format(target.path) if told is None else format_named(told)
    if wanted is None or wanted.name == file.format_name:
        return None
    if plan.data_set is not None:
        raise UsageError(
            f"`{file.path}` is of a {plan.data_set.title}, whose files keep their format",
            hint="name a copy outside of it as the input, or an output with the suffix of the input",
        )
    return wanted


def _renamed(target: Path, convert_to: str | None) -> Path:
    """With a suffix of the format that is wanted."""
    if convert_to is None:
        return target
    wanted = format_named(convert_to)
    return target if suffix_format(target) is wanted else target.with_suffix(wanted.suffixes[0])


def _check_suffix(path: Path, output: Path, convert_to: str | None, *, may_convert: bool) -> None:
    """A result has a name that says its format, which is that of its input where no other one can be made."""
    source, wanted = suffix_format(path), suffix_format(output)
    if convert_to is not None:
        if wanted is not None and wanted.name != convert_to:
            raise UsageError(
                f"`--output {output}` is the name of {wanted.title}, and `--to` says `{convert_to}`",
                hint="drop one of them",
            )
        return
    if source is None:  # stdin, or a name that promises nothing
        with contextlib.suppress(FileError):
            source = format_of(path)
    if source is None or wanted == source or output.name == PIPE:
        return
    if wanted is not None and wanted.from_rows and may_convert:
        return
    suffix = source.suffixes[0]
    if not output.suffix:
        if output.exists():
            return
        raise UsageError(
            f"`--output {output}` is not there, and could be meant as a file or as a directory",
            hint=f"name a file, `{output}{suffix}`, or a directory, `{output}/`",
        )
    if may_convert:
        told = f"`{output.suffix}` is the suffix of no format that is written"
        others = [known.suffixes[0] for known in FORMATS if known.from_rows and known is not source]
        hint = f"name a {', '.join([suffix, *others[:-1]])} or {others[-1]} file"
    else:
        told = f"the result has the format of the input, {source.title}"
        hint = f"name a {suffix} file"
    raise UsageError(f"`--output {output}`: {told}", hint=hint)


def _check_sidecar_name(output: Path) -> None:
    known = suffix_format(output)
    if output.name != PIPE and (known is None or known.name != "parquet"):
        raise UsageError(
            f"`--output {output}`: a sidecar is a Parquet file",
            hint=f"name a file, `{output.with_suffix('.parquet')}`, or a directory, `{output}/`",
        )


def _check_folder_name(output: Path | str, num_inputs: int) -> None:
    """`--output both.parquet` for two inputs would become a directory of that name."""
    path = Path(output)
    if _means_directory(output) or not is_file_suffix(path):
        return
    what = "there is a data set" if num_inputs == 1 else f"there are {num_inputs:,} inputs"
    raise UsageError(
        f"`--output {output}` is the name of a file, and {what}",
        hint=f"name a directory, such as `{path.with_suffix('')}/`",
    )


def _relative(path: Path, root: Path) -> Path:
    try:
        return path.relative_to(root)
    except ValueError:
        return Path(path.name)


def _check_distinct(targets: Mapping[Path, Path]) -> None:
    taken: dict[str, Path] = {}
    for path, target in targets.items():
        place = os.path.realpath(target)
        if place in taken:
            raise UsageError(
                f"`{taken[place]}` and `{path}` would both be written to `{target}`",
                hint="run them one at a time, or give the directory above both as the input",
            )
        taken[place] = path


def _same_file(one: Path, other: Path) -> bool:
    return other.exists() and one.exists() and one.samefile(other)


def _sidecar(path: Path, stream: StreamPlan, options: RunOptions, num_results: int, tag: str) -> Path:
    name = f"{path.name.removesuffix(path.suffix)}.gae.parquet"
    if options.output is not None and num_results == 1 and not _means_directory(options.output):
        _check_sidecar_name(Path(options.output))
        return Path(options.output)
    harmless = harmless_sidecar(path, stream, tag)
    if options.output is None:
        return path.with_name(name) if harmless is None else harmless
    output = Path(options.output)
    _check_folder_name(options.output, num_results)
    if harmless is not None:
        return output / harmless.name
    return (output / _relative(path, stream.root)).with_name(name)

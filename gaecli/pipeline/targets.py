"""Where the result of each file goes, and whether that is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gaecli.errors import UsageError
from gaecli.formats.base import RolloutFile
from gaecli.pipeline.inputs import StreamPlan
from gaecli.pipeline.provenance import own_columns
from gaecli.settings import RunOptions, Settings


@dataclass(frozen=True)
class Target:
    """The place of one result. `in_place` where it is the input itself."""

    path: Path
    in_place: bool


def plan_targets(streams: Sequence[StreamPlan], options: RunOptions) -> dict[Path, Target]:
    """Input path -> target. Raises if two results would land in one place."""
    inputs = [(path, stream.root) for stream in streams for path in stream.paths]
    if options.sidecar:
        return {
            path: Target(_sidecar(path, root, options, len(inputs)), in_place=False) for path, root in inputs
        }
    if options.output is None:
        return {path: Target(path, in_place=True) for path, _ in inputs}
    output = Path(options.output)
    if len(inputs) == 1 and not _means_directory(options.output):
        path = inputs[0][0]
        _check_suffix(path, output)
        return {path: Target(output, in_place=_same_file(path, output))}
    if output.exists() and not output.is_dir():
        raise UsageError(
            f"`--output {output}` is a file, but there are {len(inputs):,} inputs", hint="name a directory"
        )
    targets = {path: output / _relative(path, root) for path, root in inputs}
    _check_distinct(targets)
    return {path: Target(target, in_place=_same_file(path, target)) for path, target in targets.items()}


def replaced_columns(
    file: RolloutFile, settings: Settings, *, overwrite: bool
) -> tuple[list[str], list[str]]:
    """(own, foreign) columns that the new ones take the place of. `UsageError` for foreign ones without leave."""
    own = set(own_columns(file.provenance))
    present = [name for name in settings.output_columns if name in file.columns]
    foreign = [name for name in present if name not in own]
    if foreign and not overwrite:
        raise UsageError(
            f"`{file.path}` has a column `{foreign[0]}` already, which gaecli did not write",
            hint="pass `--overwrite` to replace it, or write under another name with "
            + ("`--return-column`" if foreign[0] == settings.return_column else "`--advantage-column`"),
        )
    return [name for name in present if name in own], foreign


def check_target_is_free(target: Target, provenance_of: Mapping[Path, bool], *, overwrite: bool) -> None:
    """An existing output file is only replaced if gaecli wrote it, or with leave."""
    if target.in_place or overwrite or not target.path.exists():
        return
    if not provenance_of.get(target.path, False):
        raise UsageError(
            f"`{target.path}` exists", hint="pass `--overwrite`, or choose another name with `--output`"
        )


def _means_directory(output: Path | str) -> bool:
    return str(output).endswith("/") or Path(output).is_dir()


def _check_suffix(path: Path, output: Path) -> None:
    kinds = {".pq": ".parquet"}
    source, wanted = (kinds.get(p.suffix.lower(), p.suffix.lower()) for p in (path, output))
    if wanted and source in (".parquet", ".npz") and wanted != source:
        raise UsageError(
            f"`--output {output}`: the result has the format of the input, `{path}`",
            hint=f"name a {source} file",
        )


def _relative(path: Path, root: Path) -> Path:
    try:
        return path.relative_to(root)
    except ValueError:
        return Path(path.name)


def _check_distinct(targets: Mapping[Path, Path]) -> None:
    taken: dict[Path, Path] = {}
    for path, target in targets.items():
        if target in taken:
            raise UsageError(
                f"`{taken[target]}` and `{path}` would both be written to `{target}`",
                hint="run them one at a time, or give the directory above both as the input",
            )
        taken[target] = path


def _same_file(one: Path, other: Path) -> bool:
    return other.exists() and one.exists() and one.samefile(other)


def _sidecar(path: Path, root: Path, options: RunOptions, num_inputs: int) -> Path:
    name = f"{path.name.removesuffix(path.suffix)}.gae.parquet"
    if options.output is None:
        return path.with_name(name)
    output = Path(options.output)
    if num_inputs == 1 and not _means_directory(options.output):
        return output
    return (output / _relative(path, root)).with_name(name)

"""Where results go: into local files, to stdout, or into a store, all as local paths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gaecli.errors import UsageError
from gaecli.settings import RunOptions
from gaecli.storage.new_file import NewFile
from gaecli.storage.part_files import PartFiles
from gaecli.storage.pending import PendingFile, PendingObject, PendingOutput
from gaecli.storage.pipes import PIPE, check_stdout, deliver
from gaecli.storage.schemes import uri_of
from gaecli.storage.shown_texts import ShownTexts
from gaecli.storage.stage import Stage

if TYPE_CHECKING:
    from gaecli.storage.s3_leftovers import BegunUpload


class ResultPlaces:
    """`output` is the local path for what the options have."""

    def __init__(self, stage: Stage, options: RunOptions) -> None:
        self._stage = stage
        self._is_dry_run = options.dry_run
        self._stdout: Path | None = None
        self.output = None if options.output is None else self._local(options.output)

    def check(self, inputs: Sequence[Path]) -> None:
        """Raise where results of these could not be put where they are meant to go."""
        if self._stdout is not None and len(inputs) > 1:
            raise UsageError(
                f"`--output -` takes one result, and there are {len(inputs):,} inputs",
                hint="name a directory with `--output`, or run them one at a time",
            )
        mirror = self._stage.mirror
        if mirror is None or self._is_dry_run or self.output is not None:
            return
        remote = [path for path in inputs if self._stage.is_remote(path)]
        mirror.refuse_tables(remote)
        for path in remote:
            if not mirror.can_write(path):
                raise _read_only(ShownTexts(self._stage.path).shown(str(path)))

    def expect(self, targets: Sequence[Path]) -> None:
        """See at once which of many results are there, in stores that can tell."""
        remote = [target for target in targets if self._stage.is_remote(target)]
        if remote:
            self._stage.stores().expect(remote)

    def sweep(self, targets: Sequence[Path]) -> None:
        """Remove what killed runs have sent of these, and not completed."""
        remote = [target for target in targets if self._stage.is_remote(target)]
        if remote:
            self._stage.stores().sweep(remote)

    def begun_uploads(self, targets: Sequence[Path]) -> list[tuple[Path, BegunUpload]]:
        remote = [target for target in targets if self._stage.is_remote(target)]
        return self._stage.stores().begun_uploads(remote) if remote else []

    def look_up(self, target: Path) -> None:
        """See that a result that may be there already can be opened."""
        if self._stage.is_remote(target):
            self._stage.stores().look_up(target)
            self._stage.look_up_record(target)

    def is_stdout(self, target: Path) -> bool:
        return target == self._stdout

    def can_copy_head(self, source: Path, target: Path) -> bool:
        """The bytes that begin an object can begin another one without coming here."""
        mirror = self._stage.mirror
        return mirror is not None and mirror.can_copy_head(source, target)

    def new_file(self, target: Path) -> PendingFile:
        if self._stage.is_remote(target):
            return PendingObject(self._stage.stores(), target)
        return PendingOutput(target) if self.is_stdout(target) else NewFile(target)

    def part_files(self, new_file: PendingFile, count: int) -> PartFiles:
        """Names beside a result for what several processes encode of it."""
        mirror = self._stage.stores() if self._stage.is_remote(new_file.target) else None
        return PartFiles(new_file.target, count, new_file.temporary, mirror)

    def deliver(self) -> None:
        """What was written for stdout, to stdout."""
        if self._stdout is not None and self._stdout.exists():
            deliver(self._stdout)

    def _local(self, output: str | Path) -> str | Path:
        if str(output) == "":
            raise UsageError("`--output` is an empty name", hint="a variable in the command may not be set")
        uri = uri_of(output)
        if uri is not None:
            return self._remote(uri)
        if str(output) != PIPE:
            return output
        if not self._is_dry_run:
            check_stdout()
        self._stdout = self._stage.directory("out") / PIPE
        return self._stdout

    def _remote(self, uri: str) -> str:
        mirror = self._stage.stores()
        path = mirror.path_of(uri)
        if not mirror.can_write(path):
            raise _read_only(uri)
        if not self._is_dry_run:
            mirror.refuse_tables([path / "-" if uri.endswith("/") else path])
        if uri.endswith("/"):
            return f"{path}/"
        if not mirror.look_up(path):
            mirror.look_for_directory(path)
        return str(path)


def _read_only(uri: str) -> UsageError:
    scheme = uri.partition("://")[0]
    return UsageError(
        f"`{uri}`: `{scheme}://` can only be read", hint="write the result elsewhere with `--output`"
    )

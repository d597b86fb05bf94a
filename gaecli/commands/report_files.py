"""Where the page of `gae report` goes."""

from __future__ import annotations

from pathlib import Path

from gaecli.errors import FileError, UsageError
from gaecli.report_page.page import is_ours
from gaecli.sources.inputs import plan_streams
from gaecli.storage.links import check_links
from gaecli.storage.new_file import check_writable, explain
from gaecli.storage.pipes import PIPE
from gaecli.storage.places import Places
from gaecli.storage.schemes import uri_of


def default_output(source: str | Path) -> Path:
    """`runs/ppo.parquet` -> `runs/ppo.report.html`; a folder has it beside it."""
    path = Path(source)
    is_elsewhere = str(source) == PIPE or uri_of(source) is not None
    if is_elsewhere or not path.exists():
        if not is_elsewhere:
            plan_streams([source], None)  # what is not there at all is told as always
        raise UsageError(
            f"`{source}` is no file or folder of this machine, which the page could stand beside",
            hint="say where it goes: `-o report.html`",
        )
    if not path.name or path.name == "..":
        path = path.resolve()
    stem = path.name if path.is_dir() else path.stem
    return path.with_name(f"{stem}.report.html")


def checked_target(places: Places, shown: str, *, overwrite: bool) -> Path:
    """The local path for the output of the run. Raise where no page may go there, before any work is done for it."""
    target = Path(str(places.options.output))
    if places.results.is_stdout(target) or not places.is_local(target):
        return target
    if target.is_dir():
        raise UsageError(f"`--output {shown}` is a folder, and a page is one file", hint="name a file in it")
    check_links(target)
    check_writable(target)
    if not target.parent.is_dir():
        raise FileError(f"`{shown}` cannot be written: `{target.parent}` is no folder", hint="make it first")
    if target.exists() and not overwrite and not is_ours(target):
        raise FileError(
            f"`{shown}` exists, and is no page of `gae report`",
            hint="pass `--overwrite`, or choose another name with `--output`",
        )
    return target


def write_page(places: Places, target: Path, page: bytes) -> None:
    """It stands there as a whole, or what was there before does."""
    new = places.results.new_file(target)
    try:
        new.create()
        new.temporary.write_bytes(page)
        new.seal()
        new.commit()
    except OSError as error:
        new.discard()
        raise explain(error, target) from error
    except BaseException:
        new.discard()
        raise
    places.results.deliver()

"""The metadata of an Iceberg table: which file of `metadata/` counts, and which data files are live in it."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaecli.datasets.tables import MAX_FILES, MAX_LOG_BYTES, too_large
from gaecli.errors import FileError, GaeError, MissingExtraError, UsageError, first_line
from gaecli.records import dataclass

if TYPE_CHECKING:
    from gaecli.datasets.iceberg.io import TableFiles

TITLE = "Iceberg table"
_NUMBERED = re.compile(r"v?(\d{1,18})(?:-[0-9a-f-]{36})?(?:\.gz)?\.metadata\.json(?:\.gz)?")
_MAX_METADATA_BYTES = 64 << 20
#: Namespaces and tables of one catalog that are looked at.
_MAX_TABLES = 1000


@dataclass(frozen=True, eq=False)
class LiveFile:
    """A data file of the current snapshot."""

    path: Path
    sequence: int
    entry: Any


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The table as it was read, and what a new snapshot of it will be called by."""

    root: Path
    #: The table's metadata, by pyiceberg.
    metadata: Any
    #: As the catalog has it; None where no catalog is known.
    handle: Any
    live: Mapping[Path, LiveFile]
    #: The files of the table by their locations.
    files: Any
    #: In the names of new files, and in the new snapshot.
    commit_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    #: Of new columns, once they are known.
    ids: dict[str, tuple[int, ...]] = field(default_factory=dict)


def check_installed(root: Path) -> None:
    try:
        import pyiceberg  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise MissingExtraError(
            f"`{root}` is an {TITLE}: which of its files are live, only `pyiceberg` can read",
            hint="pip install 'gaecli[iceberg]'",
        ) from error


@contextlib.contextmanager
def told(root: Path, doing: str = "read") -> Iterator[None]:
    """What goes wrong in `pyiceberg`, in words."""
    try:
        yield
    except (GaeError, MemoryError):
        raise
    except Exception as error:
        line = first_line(error)[:300]
        raise FileError(
            f"the metadata of the {TITLE} `{root}` cannot be {doing}: {line}",
            hint="this is what `pyiceberg` says of it",
        ) from error


def find_in_catalogs(root: Path) -> Any | None:
    """The table as a catalog has it that pyiceberg is configured for; None where none knows it."""
    from pyiceberg.utils.config import Config

    with contextlib.suppress(Exception):  # a configuration that cannot be read, or a catalog out of reach
        config = Config()
        for name in config.get_known_catalogs():
            with contextlib.suppress(Exception):
                table = _find_in_catalog(name, dict(config.get_catalog_config(name) or {}), root)
                if table is not None:
                    return table
    return None


def _find_in_catalog(name: str, properties: dict[str, Any], root: Path) -> Any | None:
    from pyiceberg.catalog import load_catalog

    catalog = load_catalog(name, **properties)
    names = [table for space in catalog.list_namespaces() for table in catalog.list_tables(space)]
    # The one that is called as its folder is comes first: mostly it is the one.
    names.sort(key=lambda identifier: identifier[-1] != root.absolute().name)
    folder = os.path.realpath(root / "metadata")
    for identifier in names[:_MAX_TABLES]:
        with contextlib.suppress(Exception):
            table = catalog.load_table(identifier)
            location = str(table.metadata_location).removeprefix("file://")
            if os.path.realpath(Path(location).parent) == folder:
                return table
    return None


def newest_metadata(root: Path) -> Path:
    """By `version-hint.text`, or else the highest number; `UsageError` where two have it."""
    folder = root / "metadata"
    with contextlib.suppress(OSError):
        hint = (folder / "version-hint.text").read_text()[:300].strip()
        for name in (f"v{hint}.metadata.json", f"v{hint}.gz.metadata.json", hint, f"{hint}.metadata.json"):
            if _NUMBERED.fullmatch(name) and (folder / name).is_file():
                return folder / name
    numbered = [
        (int(match[1]), path) for path in folder.iterdir() if (match := _NUMBERED.fullmatch(path.name))
    ]
    highest = max(number for number, _ in numbered)
    newest = [path for number, path in numbered if number == highest]
    if len(newest) > 1:
        raise UsageError(
            f"which metadata of the {TITLE} `{root}` count is open: `{newest[0].name}` or `{newest[1].name}`",
            hint="its catalog knows: configure pyiceberg for it, in ~/.pyiceberg.yaml or PYICEBERG_CATALOG__…",
        )
    return newest[0]


def read_metadata(root: Path, path: Path) -> Any:
    from pyiceberg.table.metadata import TableMetadataUtil

    with told(root):
        if path.stat().st_size > _MAX_METADATA_BYTES:
            raise too_large(TITLE, root)
        with path.open("rb") as file:
            is_packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            text = (gzip.GzipFile(fileobj=file) if is_packed else file).read(_MAX_METADATA_BYTES + 1)
        if len(text) > _MAX_METADATA_BYTES:
            raise too_large(TITLE, root)
        return TableMetadataUtil.parse_raw(text.decode())


def live_files(root: Path, metadata: Any, files: TableFiles) -> list[LiveFile]:
    """Refuses what stands otherwise in a file than in the table."""
    from pyiceberg.manifest import DataFileContent, FileFormat

    snapshot = metadata.current_snapshot()
    found: list[LiveFile] = []
    num_bytes = 0
    with told(root):
        for manifest in snapshot.manifests(files) if snapshot is not None else []:
            num_bytes += files.local(manifest.manifest_path).stat().st_size
            if num_bytes > MAX_LOG_BYTES // 8:
                raise too_large(TITLE, root)
            for entry in manifest.fetch_manifest_entry(files, discard_deleted=True):
                data_file = entry.data_file
                if data_file.content != DataFileContent.DATA:
                    raise UsageError(
                        f"rows of the {TITLE} `{root}` were deleted by files of deletes, and are still in the others",
                        hint="rewrite its data files (`rewrite_data_files`), or export the table and read that",
                    )
                if data_file.file_format != FileFormat.PARQUET:
                    raise UsageError(
                        f"the {TITLE} `{root}` has files in {data_file.file_format.value}, not in Parquet",
                        hint="export the table, and read that",
                    )
                if len(found) == MAX_FILES:
                    raise too_large(TITLE, root)
                path = files.local(data_file.file_path)
                found.append(LiveFile(path, entry.sequence_number or 0, entry))
    if len({file.path for file in found}) < len(found):
        raise FileError(f"the metadata of the {TITLE} `{root}` name a file twice")
    return found

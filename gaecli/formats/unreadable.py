"""What keeps a file from being read as its format, for the user."""

from __future__ import annotations

from pathlib import Path

from gaecli.errors import FileError


def unreadable(
    path: Path,
    error: Exception,
    title: str,
    hint: str | None,
    *,
    member: str | None = None,
    what: str | None = None,
) -> FileError:
    """The error to raise from `error`.

    Args:
        title: of the format.
        member: what part of the file it is about, if one.
        what: is wrong, where `error` does not say it itself.
    """
    if isinstance(error, FileNotFoundError):
        return FileError(f"`{path}` does not exist")
    if isinstance(error, PermissionError):
        return FileError(f"no permission to read `{path}`")
    where = f"{member} of `{path}`" if member is not None else f"`{path}`"
    return FileError(f"{where} cannot be read as {title}: {what or first_line(error)}", hint=hint)


def first_line(error: Exception) -> str:
    said = str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__

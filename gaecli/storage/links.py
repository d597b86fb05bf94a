"""Symbolic links on the way to a result.

What a link leads to is chosen by whoever made it. In a folder that everybody may write to, that may be anybody:
Linux follows no link there that is neither one's own nor that of the folder's owner (`protected_symlinks`). A new
file that is renamed over what a link leads to never asks the kernel to follow it: the rule is kept here.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from gaecli.errors import FileError

#: As many as Linux follows.
_MOST_LINKS = 40


def check_links(path: Path) -> None:
    """Raise where the way to `path` cannot be followed to its end, or should not be."""
    # Texts: objects of paths would take longer than all that is asked of the system.
    done, ahead = _start(path, str(Path.cwd())), _names(path)
    num_links = 0
    while ahead:
        name = ahead.pop()
        if name == "..":  # of what a link leads to: `done` has no links in it
            done = done.rpartition("/")[0]
            continue
        place = f"{done}/{name}"
        try:
            status = os.lstat(place)
            if not stat.S_ISLNK(status.st_mode):
                done = place
                continue
            _check_owner(Path(place), status.st_uid, path)
            text = Path(place).readlink()
        except OSError:
            return  # nothing is there yet, or whoever writes there says why it cannot
        num_links += 1
        if num_links > _MOST_LINKS:
            raise FileError(
                f"`{path}` cannot be written: the link `{place}` on the way to it leads in a circle",
                hint="remove that link, or choose another place with `--output`",
            )
        done = _start(text, done)
        ahead += _names(text)


def _check_owner(link: Path, owner: int, path: Path) -> None:
    folder = link.parent.stat()
    is_shared = bool(folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH)
    if is_shared and owner not in (os.geteuid(), folder.st_uid):
        way = "" if link == Path.cwd() / path else f" on the way to `{path}`"
        raise FileError(
            f"`{link}`{way} is a link that somebody else made in a folder that everybody may write to",
            hint="choose another place with `--output`: where it leads is theirs to choose",
        )


def _start(path: Path, folder: str) -> str:
    """The root is empty: what follows begins with a slash."""
    return "" if path.is_absolute() else folder.rstrip("/")


def _names(path: Path) -> list[str]:
    """The last one first."""
    return [*reversed(path.parts[1:] if path.is_absolute() else path.parts)]

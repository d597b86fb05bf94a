"""Results on their way to a place: a local file (`NewFile`), stdout, or an object of a store."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gaecli.storage.pipes import PIPE
from gaecli.unfinished import forget, remember

if TYPE_CHECKING:  # local files need neither
    from gaecli.formats.base import LeftOut
    from gaecli.storage.mirror import Mirror
    from gaecli.storage.objects import Upload
    from gaecli.storage.uploads import SentObject


class PendingFile(Protocol):
    """A result on its way to a place: written to `temporary`, sealed, and then there at once or not at all."""

    target: Path
    temporary: Path
    #: It is in its place.
    is_committed: bool

    def create(self) -> None:
        """Make it, empty. After this has begun, only `commit` or `discard` end it."""

    def seal(self) -> None: ...

    def keep_old(self) -> None:
        """Before `commit`: see that `take_back` can bring back what is there now. `forget_old` ends it."""

    def commit(self) -> None: ...

    def take_back(self) -> bool:
        """After `keep_old`: all is as it was, whether `commit` came or not; False where that cannot be."""

    def forget_old(self) -> None: ...

    def discard(self) -> None: ...


class PendingOutput:
    """What will go to stdout; until then it need not survive the machine."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.temporary = target.with_name(f"{PIPE}.tmp")
        self.is_committed = False

    def create(self) -> None:
        pass  # whoever writes to it does

    def seal(self) -> None:
        pass

    def keep_old(self) -> None:
        pass  # there is none

    def commit(self) -> None:
        self.temporary.replace(self.target)
        self.is_committed = True

    def take_back(self) -> bool:
        self.target.unlink(missing_ok=True)
        self.is_committed = False
        return True

    def forget_old(self) -> None:
        pass

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self.temporary.unlink(missing_ok=True)


class PendingObject:
    """An object that will take the place of `target`, or not appear."""

    def __init__(self, mirror: Mirror, target: Path) -> None:
        self.temporary = target.parent / f".{os.urandom(8).hex()}.tmp"
        self._mirror = mirror
        self.target = target
        self.is_committed = False
        self._upload: Upload | None = None
        #: The bytes were never here.
        self._is_elsewhere = False
        self._left_out: Sequence[LeftOut] = ()
        remember(self.discard)

    def create(self) -> None:
        pass  # whoever writes to it does

    def leaves_out(self, left_out: Sequence[LeftOut]) -> None:
        """What was written has holes; objects of the mirror have what belongs there."""
        self._left_out = left_out

    def begin(self) -> SentObject | None:
        """For a process elsewhere that sends it, or for several, where one may be lost: `discard` takes it back."""
        self._upload = self._mirror.upload(self.target, self.temporary)
        return self._upload.begin()

    def take_over(self, sent: SentObject) -> None:
        """Another process has sent all of it."""
        self._upload = self._mirror.upload(self.target, self.temporary)
        self._upload.take_over(sent)
        self._is_elsewhere = True

    def seal(self) -> None:
        """Send all of it; that takes time, and the sources are looked at once more afterwards."""
        if not self._is_elsewhere:
            self._upload = self._mirror.upload(self.target, self.temporary)
            self._mirror.send(self._upload, self.temporary, self._left_out)

    def commit(self) -> None:
        if self._upload is None:
            self.seal()
        assert self._upload is not None
        self._upload.commit()
        self.is_committed = True
        forget(self.discard)
        self._mirror.was_replaced(self.target)
        if not self._is_elsewhere:
            self._mirror.written(self.target, self.temporary)

    def keep_old(self) -> None:
        pass  # a store has no second names: the bytes would have to be sent once more

    def take_back(self) -> bool:
        return not self.is_committed

    def forget_old(self) -> None:
        pass

    def discard(self) -> None:
        if self._upload is not None:
            self._upload.discard()
        with contextlib.suppress(OSError):
            self.temporary.unlink(missing_ok=True)
        forget(self.discard)

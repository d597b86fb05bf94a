"""Values on their way to another process, whose paths of stores' mirrors become those of the mirror there.

A mirror lies below a temporary directory of its process (`gaecli.storage.mirror`). What is sent names its objects by
their place in the mirror, with what is known of them; whoever gets it has them in a mirror of its own, empty until
the bytes are needed. Texts that name such paths, as those of errors do, change with them.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gaecli.records import dataclass
from gaecli.storage.mirror import RemoteName
from gaecli.storage.stage import Stage


@dataclass(frozen=True)
class _Text:
    """A text in pieces, with the root of a mirror between them."""

    pieces: tuple[str, ...]


def dumps(
    value: Any, stage: Stage | None, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None
) -> bytes:
    """Bytes for `loads` in another process; `stage` is that of this one."""
    if stage is None or stage.mirror is None:
        return pickle.dumps(value, 5, buffer_callback=buffer_callback)
    sent = io.BytesIO()
    _Sender(sent, stage, buffer_callback).dump(value)
    return sent.getvalue()


def loads(sent: bytes, stage: Stage | None, buffers: Iterable[Any] = ()) -> Any:
    """What `dumps` has sent; `stage` is that of this process."""
    return _Receiver(io.BytesIO(sent), stage, buffers).load()


class _Sender(pickle.Pickler):
    def __init__(
        self, file: io.BytesIO, stage: Stage, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None
    ) -> None:
        super().__init__(file, 5, buffer_callback=buffer_callback)
        assert stage.mirror is not None
        self._mirror = stage.mirror
        self._root = str(stage.mirror.root)

    def persistent_id(self, value: Any) -> RemoteName | _Text | None:
        if isinstance(value, Path):
            return self._mirror.name_of(value)
        if isinstance(value, str) and self._root in value:
            return _Text(tuple(value.split(self._root)))
        return None


class _Receiver(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, stage: Stage | None, buffers: Iterable[Any]) -> None:
        super().__init__(file, buffers=buffers)
        self._stage = stage

    def persistent_load(self, name: RemoteName | _Text) -> Path | str:
        assert self._stage is not None
        mirror = self._stage.stores()
        if isinstance(name, _Text):
            return str(mirror.root).join(name.pieces)
        return mirror.place_of(name)

"""`python -m gaecli` and the console script `gae`."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn


def main() -> NoReturn:
    from gaecli.cli.main import run

    run()


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """Until `run` has its own way with signals nothing is there to be put away."""
    os._exit(130)


# At once: most of the time before `run` goes into imports.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)

if __name__ == "__main__":
    main()

"""`python -m gaecli` and the console script `gae`."""

from __future__ import annotations

import gc
import os
import signal
from types import FrameType
from typing import NoReturn

#: New containers after which Python looks for garbage that refers to itself, 700 as it comes. Next to nothing of ours
#: does. A start makes eighty thousand that stay, with `import torch` three hundred thousand: to look through them was
#: a twentieth of the one and a tenth of the other.
_CONTAINERS = 500_000


def main() -> NoReturn:
    gc.set_threshold(_CONTAINERS)
    # Read once, as NumPy is imported. Blocks are computed by threads of ours, and matrices are small: to start others
    # took a tenth of a second of CPU time, in which they looked for work.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
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

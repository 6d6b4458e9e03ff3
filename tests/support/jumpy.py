"""`python -m tests.support.jumpy run …`: wsguard with a wall clock that a test can push forward.

The file named by WSGUARD_TEST_JUMP holds how many seconds it is ahead; the monotonic clock is left alone, as by a real
jump.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from wsguard.cli import main

_FILE = Path(os.environ["WSGUARD_TEST_JUMP"])
_real = time.time


def _jumped() -> float:
    return _real() + float(_FILE.read_text() or 0)


if __name__ == "__main__":
    time.time = _jumped
    sys.exit(main())

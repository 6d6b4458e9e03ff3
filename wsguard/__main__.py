"""`python -m wsguard` is `wsguard`."""

import sys

from wsguard.cli import main

sys.exit(main())

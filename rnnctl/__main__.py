"""`python -m rnnctl …`, and the console script `rnnctl`."""

from __future__ import annotations

import sys

from rnnctl.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m llamatw`: the same as the `llamatw` command."""

from __future__ import annotations

import sys

from llamatw.cli import main

sys.exit(main())

"""``python -m maisi``: the same as ``maisi``."""

import sys

from maisi.cli import main

sys.exit(main())

"""``python -m edge_agent``: the same as the program ``edge-agent``."""

import sys

from edge_agent.cli import main

sys.exit(main())

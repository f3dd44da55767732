"""``python -m demo.steer cut | mend | kill``: break or mend something of the demo that runs in this folder."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from demo.errors import DemoError
from demo.layout import Layout
from demo.run import STEERING


def main(arguments: list[str] | None = None) -> int:
    """Tell the launcher; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.steer",
        description="Cut or mend the link of the running demo, or kill its server.",
    )
    parser.add_argument("what", choices=sorted(STEERING))
    parser.add_argument("--var", type=Path, default=Path("var"), help="its data (default: ./var)")
    chosen = parser.parse_args(arguments)
    try:
        owner = Layout(var=chosen.var.resolve(), media=Path()).owner()
        os.kill(owner, STEERING[chosen.what])
    except (DemoError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{chosen.what}: told; the first terminal says what happens")
    return 0


if __name__ == "__main__":
    sys.exit(main())

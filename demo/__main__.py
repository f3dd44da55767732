"""``python -m demo``: the whole thing on one machine, until Ctrl-C."""

import sys
from signal import SIG_DFL, SIGINT, signal

if __name__ == "__main__":
    # Until there is something to stop, Ctrl-C ends this at once and without a traceback.
    signal(SIGINT, SIG_DFL)
    from demo.run import main

    sys.exit(main())

"""``python -m demo``: the whole thing on one machine, until Ctrl-C."""

import _signal  # type: ignore[import-not-found] # of `signal`, what has not to be loaded
import sys

if __name__ == "__main__":
    # Until there is something to stop, Ctrl-C ends this at once and without a traceback.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from demo.run import main

    sys.exit(main())

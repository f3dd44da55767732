"""A wall clock that jumps under a running program, and under nothing else on this machine.

The C library's functions are replaced in that one process; the monotonic clock stays as it is, as it
does when somebody sets the time.
"""

import subprocess
from pathlib import Path

from tests.support.requirements import require

YEAR_S = 31_556_952

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <string.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static volatile long long *shift;
static int (*real)(clockid_t, struct timespec *);

/* Not in a constructor: those of other libraries, that of Python 3.13 for one, ask for the time. */
static void begin(void) {
    int fd = open(getenv("SHIFTED_CLOCK"), O_RDONLY);
    shift = mmap(0, sizeof *shift, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    real = dlsym(RTLD_NEXT, "clock_gettime");
}

int clock_gettime(clockid_t id, struct timespec *now) {
    if (!real) begin();
    int code = real(id, now);
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) now->tv_sec += *shift;
    return code;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec found;
    int code = clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return code;
}

time_t time(time_t *out) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (out) *out = found.tv_sec;
    return found.tv_sec;
}

int adjtimex(struct timex *state) {
    int (*ask)(struct timex *) = dlsym(RTLD_NEXT, "adjtimex");
    if (getenv("CLOCK_IS_FORBIDDEN")) { errno = EPERM; return -1; }
    int code = ask(state);
    if (!getenv("CLOCK_IS_SET")) return code;
    state->status &= ~STA_UNSYNC;
    state->maxerror = 0;
    return TIME_OK;
}
"""


class ShiftedClock:
    """What a program's wall clock is off by; change it whenever."""

    def __init__(self, folder: Path) -> None:
        compiler = require("cc")
        folder.mkdir(parents=True, exist_ok=True)
        source, self._library = folder / "clock.c", folder / "clock.so"
        self._shift = folder / "shift"
        source.write_text(_SOURCE)
        command: list[str | Path] = [
            compiler,
            "-shared",
            "-fPIC",
            "-O1",
            "-o",
            self._library,
            source,
            "-ldl",
        ]
        subprocess.run(command, check=True, timeout=60)
        self._shift.write_bytes(bytes(8))

    def shift(self, *, years: float) -> None:
        with self._shift.open("r+b") as file:
            file.write(round(years * YEAR_S).to_bytes(8, "little", signed=True))

    def wrap(
        self, command: list[object], *, is_set: bool = False, is_forbidden: bool = False
    ) -> list[object]:
        """Return *command* as a command whose clock is this one, which the kernel believes if it *is_set*.

        Args:
            is_forbidden: the kernel may not be asked, as in the agent's unit.
        """
        preload = [f"LD_PRELOAD={self._library}", f"SHIFTED_CLOCK={self._shift}"]
        preload += ["CLOCK_IS_SET=1"] if is_set else []
        preload += ["CLOCK_IS_FORBIDDEN=1"] if is_forbidden else []
        return ["env", *preload, *command]

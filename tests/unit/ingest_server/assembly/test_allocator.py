"""Memory that is not used any more."""

import subprocess
import sys

PROGRAM = """
import threading
from pathlib import Path
from ingest_server.assembly.allocator import give_memory_back

give_memory_back()

def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) / 256

def hold_parts():
    for _ in range(3):
        bytearray(8 << 20)
    done.wait()
    end.wait()

before = resident_mib()
done, end = threading.Barrier(13), threading.Barrier(13)
for _ in range(12):
    threading.Thread(target=hold_parts).start()
done.wait()
print(resident_mib() - before)
end.wait()
"""


def test_threads_that_had_parts_of_objects_keep_none_of_them():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )

    assert float(done.stdout) < 16


SPARED = """
import gc
from ingest_server.assembly.allocator import spare_what_is_here

kept = [[] for _ in range(50_000)]
kept.append(kept)
looked_at = len(gc.get_objects())
spare_what_is_here()
print(looked_at > 50_000, gc.get_freeze_count() >= 50_000, len(gc.get_objects()) < 1000)
later = []
later.append(later)
del later
print(gc.collect() > 0)
"""


def test_what_the_start_has_made_is_looked_at_no_more_and_what_comes_later_is():
    done = subprocess.run(
        [sys.executable, "-c", SPARED], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["True"] * 4

"""Speed, CPU and memory of the real programs on this machine: ``make bench``."""

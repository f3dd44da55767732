"""What the owner of the device allows: links, times, power, data plans, holds and deadlines."""

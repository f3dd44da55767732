"""What goes on beside requests: recovery, expiry, retention, scrubbing, disk space."""

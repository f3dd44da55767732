"""`edge-agent setup`: what makes a machine a device, and what takes it back."""

"""Telling about it: what is told of this device, and of what it is made. How it is told: `broker`, `server`."""

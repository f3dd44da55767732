"""Sockets and links: names, connections, the stream that httpx runs over, news of the kernel."""

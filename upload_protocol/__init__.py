"""What agent and server must agree on: ranges, digests, headers, messages, problems.

Standard library only, and no I/O: this is the part both ends are proved against.
"""

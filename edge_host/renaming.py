"""Giving a file another name, and never the name of a file that is there."""

from __future__ import annotations

import ctypes
import errno
import os

_RENAME_NOREPLACE = 1
_NOT_OFFERED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
"""The file system, or the kernel, has no move that never replaces."""

_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # glibc 2.28
if _renameat2 is not None:
    _renameat2.argtypes = (
        *(ctypes.c_int, ctypes.c_char_p),
        *(ctypes.c_int, ctypes.c_char_p),
        ctypes.c_uint,
    )


def rename_if_free(name: bytes, free: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> bool:
    """Move *name* of one open folder to *free* in another, or the same, replacing nothing.

    Returns:
        False: neither the kernel nor the file system can promise that; nothing was done.

    Raises:
        OSError: FileExistsError if there is a file *free*.
    """
    if _renameat2 is None:
        return False
    if _renameat2(src_dir_fd, name, dst_dir_fd, free, _RENAME_NOREPLACE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NOT_OFFERED:
        return False
    raise OSError(code, os.strerror(code), free)

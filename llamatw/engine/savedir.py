"""The directory of --slot-save-path: drafts that become files at once or not at all, files opened without surprises.

Names are looked up below the directory's own descriptor, links are not followed, and every error of the system comes
out as one of ours: no such file is the client's business, a full disk is 507, all else is the operator's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from typing import BinaryIO

from llamatw.errors import BadRequest, InsufficientStorage, LlamatwError, NotFound

_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not keep us waiting
_DRAFT_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Draft:
    """A file that has no name yet but a random one.  After commit() or discard() it is done with."""

    def __init__(self, folder: int, name: str) -> None:
        """Owns the directory's descriptor from now on."""
        self._folder = folder
        self._name = name
        self._draft_name = f".{name}.{secrets.token_hex(8)}"
        fd = os.open(self._draft_name, _DRAFT_FLAGS, 0o600, dir_fd=folder)
        self.file: BinaryIO = os.fdopen(fd, "wb")

    def commit(self) -> int:
        """On disk under its name; the number of its bytes."""
        with explained(self._name):
            self.file.flush()
            os.fsync(self.file.fileno())
            size = os.fstat(self.file.fileno()).st_size
            os.rename(self._draft_name, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            os.fsync(self._folder)
        self.discard()
        return size

    def discard(self) -> None:
        """Nothing is left but what was committed.  Once is enough, more do no harm."""
        folder, self._folder = self._folder, -1
        if folder < 0:
            return
        with contextlib.suppress(OSError):
            self.file.close()
        with contextlib.suppress(OSError):
            os.unlink(self._draft_name, dir_fd=folder)
        os.close(folder)


class SaveDirectory:
    """All calls block: they are for a thread of the pool."""

    def __init__(self, path: str) -> None:
        self._path = path

    def create(self, name: str) -> Draft:
        with explained(name):
            folder = self._open()
            try:
                return Draft(folder, name)
            except BaseException:
                os.close(folder)
                raise

    def open(self, name: str) -> tuple[BinaryIO, int]:
        """A file to read, and its size."""
        folder = self._open()
        try:
            with explained(name):
                return _regular(os.open(name, _READ_FLAGS, dir_fd=folder), name)
        finally:
            os.close(folder)

    def _open(self) -> int:
        try:
            return os.open(self._path, _FOLDER_FLAGS)
        except OSError as error:
            raise LlamatwError(f"the directory of --slot-save-path cannot be used: {error.strerror}") from None


def check_name(name: str) -> None:
    """A plain file name, that no shell, system or path makes into anything else."""
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise BadRequest(
            "filename must be 1 to 128 letters, digits, dots, dashes and underscores, and not . or ..", "filename"
        )


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """What the system says about a file, in our words."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise InsufficientStorage(f"there is no room for {name}: {error.strerror}") from None
        if error.errno == errno.ENOENT:
            raise NotFound(f"there is no file {name}", "filename") from None
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _no_file(name) from None
        raise LlamatwError(f"{name} in the directory of --slot-save-path: {error.strerror}") from None


def _regular(fd: int, name: str) -> tuple[BinaryIO, int]:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise _no_file(name)
    return os.fdopen(fd, "rb"), found.st_size


def _no_file(name: str) -> BadRequest:
    return BadRequest(f"{name} is not a regular file", "filename")

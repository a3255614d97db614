"""Where fetched files lie.

    cache/hub/HOST/USER/NAME/VERSION/FILE     VERSION: digest of the files' names and what they hold
    cache/url/DIGEST/VERSION/FILE             DIGEST: of the URL
    .../VERSION/FILE.partial                  being written; goes on where it ends, since VERSION says what it will hold
    .../VERSION/manifest.json                 written last: all files of the model are there
    .../lock                                  held while fetching: a second process waits

A version never changes, so the parts of two versions cannot get mixed; one that is complete replaces older ones.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import msgspec

from llamatw.hub import names
from llamatw.settings import Remote

_MANIFEST = "manifest.json"


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a model, as its host describes it."""

    path: str  # below the version's directory, checked
    url: str
    size: int  # bytes
    digest: str = ""  # "sha256:..." of the file, or "git:...", its name as a blob of git; "": nobody says
    validator: str = ""  # ETag or Last-Modified; "": nobody says


def folder(base: Path, endpoint: str, wanted: Remote) -> Path:
    """Of all versions of what is wanted."""
    if wanted.url:
        return base / "url" / hashlib.sha256(wanted.url.encode()).hexdigest()[:32]
    return base / "hub" / quote(urlsplit(endpoint).netloc, safe="") / wanted.repo


def version(files: list[File]) -> str:
    said = "".join(f"{file.path}\0{file.size}\0{file.digest}\0{file.validator}\n" for file in files)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def is_complete(directory: Path, files: list[File]) -> bool:
    return (directory / _MANIFEST).is_file() and all(is_there(directory, file) for file in files)


def is_there(directory: Path, file: File) -> bool:
    path = directory / file.path
    return path.is_file() and path.stat().st_size == file.size


def seal(directory: Path, files: list[File]) -> None:
    """All files are there.  Versions of the same model before this one go."""
    draft = directory / f"{_MANIFEST}.partial"
    with draft.open("wb") as out:
        out.write(msgspec.json.encode(files))
        out.flush()
        os.fsync(out.fileno())
    draft.replace(directory / _MANIFEST)
    sync(directory)
    for other, theirs in _complete(directory.parent):
        if other != directory and theirs[0].path == files[0].path:
            shutil.rmtree(other, ignore_errors=True)


def find(where: Path, wanted: Remote) -> Path | None:
    """The first file of a model that is there already, as `names.choose` would have it."""
    directories: dict[str, Path] = {}
    for directory, files in _complete(where):
        directories.setdefault(files[0].path, directory)
    first = next(iter(directories), None) if wanted.url else names.choose(directories, _first_part(wanted))
    return None if first is None else directories[first] / first


def _first_part(wanted: Remote) -> Remote:
    return msgspec.structs.replace(wanted, file=names.parts(wanted.file)[0])


def _complete(where: Path) -> Iterator[tuple[Path, list[File]]]:
    """The complete versions, the last one first."""
    manifests = sorted(where.glob(f"*/{_MANIFEST}"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in manifests:
        try:
            files = msgspec.json.decode(path.read_bytes(), type=list[File])
        except (OSError, msgspec.DecodeError):
            continue  # as good as not there: it is fetched again
        if files and is_complete(path.parent, files):
            yield path.parent, files


def sync(directory: Path) -> None:
    """What was renamed in it stays renamed."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

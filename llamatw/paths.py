"""Where the files that ship with the package are: inside an installed package, or at the top of a checkout."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def package_dir() -> Path:
    return Path(str(files("llamatw")))


def webroot() -> Path:
    """The directory of the built-in page.  A wheel carries it in the package, a checkout beside it."""
    shipped = package_dir() / "webroot"
    return shipped if shipped.is_dir() else package_dir().parent / "webroot"

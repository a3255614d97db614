"""What users and hubs call things.  Nobody's name becomes a URL or a path before it has been through here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote, urlsplit

from llamatw.errors import ModelError, UsageMistake
from llamatw.settings import Remote

HUB = "https://huggingface.co"
PREFERRED = ("Q4_K_M", "Q8_0")  # where nobody says which; else the first in the alphabet
MAX_PARTS = 1024  # of a split model, as the engine has it

_SIDECARS = ("mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-")  # GGUF files that are no models
_WORD = r"[A-Za-z0-9_][\w.-]{0,95}"
_REPOSITORY = re.compile(rf"({_WORD}/{_WORD})(?::([\w.-]{{1,64}}))?", re.ASCII)
_PART = re.compile(r"(.+)-\d{5}-of-(\d{5})\.gguf")
_SEGMENT = re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f]+")
_MAX_SEGMENT = 240  # bytes: the file system's 255, and room for ".partial"


def repository(text: str) -> tuple[str, str]:
    """USER/NAME[:TAG] -> ("USER/NAME", "TAG" or "").  Raises UsageMistake."""
    found = _REPOSITORY.fullmatch(text)
    if not found:
        raise UsageMistake(f"must be USER/NAME or USER/NAME:TAG, such as ggml-org/models:Q4_K_M, not {text[:80]!r}")
    return found[1], found[2] or ""


def web_address(text: str) -> str:
    """An http or https URL without password and fragment.  Raises UsageMistake."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and not parts.fragment
        good = good and (parts.port or 1) and text.isascii() and text.isprintable() and " " not in text
    except ValueError:
        good = False
    if not good:
        raise UsageMistake(f"must be a URL such as https://example.org/model.gguf, not {text[:80]!r}")
    return text


def remote(text: str) -> Remote | None:
    """What somebody means who gives one word: a URL, a repository, or neither."""
    if text.startswith(("http://", "https://")):
        return Remote(url=web_address(text))
    if not _REPOSITORY.fullmatch(text) or text.endswith(".gguf"):  # the latter: a path, mistyped
        return None
    repo, tag = repository(text)
    return Remote(repo=repo, tag=tag)


def shown(wanted: Remote) -> str:
    """Its name, for messages and replies.  A URL's query may hold a signature, so it is left out."""
    if wanted.url:
        return wanted.url.partition("?")[0]
    return wanted.repo + (f":{wanted.tag}" if wanted.tag else "") + (f"/{wanted.file}" if wanted.file else "")


def endpoint(environment: Mapping[str, str] = os.environ) -> str:
    """The hub, or its mirror, without a slash at its end.  Raises ModelError."""
    for name in ("MODEL_ENDPOINT", "HF_ENDPOINT"):
        if text := environment.get(name, ""):
            try:
                return web_address(text).rstrip("/")
            except UsageMistake as error:
                raise ModelError(f"{name} {error.message}") from None
    return HUB


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: whom a token may be shown to."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def checked_path(path: str) -> str:
    """A path below some directory, whoever made it up.  Raises ModelError."""
    for segment in path.split("/"):
        if not _SEGMENT.fullmatch(segment) or len(segment.encode("utf-8", "replace")) > _MAX_SEGMENT:
            raise ModelError(f"{path[:120]!r} is not a name that a model's file can have")
    return path


def file_name(url: str) -> str:
    """What a URL's file is called in the cache."""
    name = unquote(urlsplit(url).path.rpartition("/")[2], errors="replace")
    if "/" in name:
        raise ModelError(f"{name[:120]!r} is not a name that a model's file can have")
    return checked_path(name) if name.endswith(".gguf") else "model.gguf"


# ---- which of a repository's files ----------------------------------------------------------------------------------


def parts(path: str) -> list[str]:
    """All files of the model that `path` is a file of, the first one first.  Raises ModelError."""
    found = _PART.fullmatch(path)
    if not found:
        return [path]
    count = int(found[2])
    if not 1 <= count <= MAX_PARTS:
        raise ModelError(f"{path[:120]} says that it is one of {count} files, which must be 1 to {MAX_PARTS}")
    return [f"{found[1]}-{no:05}-of-{count:05}.gguf" for no in range(1, count + 1)]


def is_model(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.endswith(".gguf") and not any(word in name for word in _SIDECARS)


def choose(paths: Iterable[str], wanted: Remote) -> str | None:
    """The file that is meant: named, else with the tag in its name, else of PREFERRED, else the first."""
    known = sorted(paths)
    if wanted.file:
        return wanted.file if wanted.file in known else None
    models = list(filter(is_model, known))
    for tag in (wanted.tag,) if wanted.tag else PREFERRED:
        said = re.compile(rf"(?<![A-Za-z0-9]){re.escape(tag)}[.-]", re.IGNORECASE)  # F16 is not BF16
        if found := next(filter(said.search, models), None):
            return found
    return models[0] if models and not wanted.tag else None

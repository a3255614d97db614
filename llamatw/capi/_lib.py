"""Finds, checks and declares the engine library once per process, and turns its error codes into our exceptions."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from importlib import resources

from llamatw.capi import _abi
from llamatw.capi.records import Code, KVFull
from llamatw.errors import EngineFailure, LlamatwError, ModelError

_ABOUT_THE_FILE = (Code.IO, Code.FORMAT, Code.UNSUPPORTED)


def library_path() -> str:
    """LLAMATW_LIB when set, else the library that was built into the package."""
    suffix = "dylib" if sys.platform == "darwin" else "so"
    return os.environ.get("LLAMATW_LIB") or str(resources.files("llamatw") / "_lib" / f"libllamatw.{suffix}")


@functools.cache
def library() -> ctypes.CDLL:
    """The library with every function's types declared.  CDLL: each call lets go of the GIL."""
    path = library_path()
    if not os.path.exists(path):
        raise EngineFailure(f"the engine library {path} is not there: run `make lib`", Code.IO)
    try:
        return _declare(ctypes.CDLL(path), path)
    except (OSError, AttributeError) as error:
        raise EngineFailure(f"the engine library {path} cannot be used ({error}): run `make lib`", Code.IO) from error


def _declare(lib: ctypes.CDLL, path: str) -> ctypes.CDLL:
    for name, (restype, *argtypes) in _abi.FUNCTIONS.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = restype, argtypes
    version = lib.lt_abi_version()
    if version != _abi.ABI_VERSION:
        raise EngineFailure(
            f"the engine library {path} has ABI version {version}, not {_abi.ABI_VERSION}: run `make lib`",
            Code.UNSUPPORTED,
        )
    return lib


def failure(code: int) -> EngineFailure:
    """This thread's last failure as an exception."""
    sentence = library().lt_last_error().decode("utf-8", "replace") or f"the engine failed with code {code}"
    return KVFull(sentence) if code == Code.KV_FULL else EngineFailure(sentence, code)


def check(code: int) -> None:
    """Raises when a call failed."""
    if code < 0:
        raise failure(code)


def check_open(code: int) -> None:
    """As check(), but what is wrong with the file is a ModelError."""
    if code < 0:
        error: LlamatwError = failure(code)
        raise ModelError(error.message) if code in _ABOUT_THE_FILE else error

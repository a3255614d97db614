"""What a library that is missing, or is another one, leads to."""

from __future__ import annotations

import pytest

from llamatw.capi import _lib
from llamatw.errors import EngineFailure


@pytest.fixture(autouse=True)
def fresh_library():
    _lib.library.cache_clear()
    yield
    _lib.library.cache_clear()


def test_a_missing_library(monkeypatch):
    monkeypatch.setenv("LLAMATW_LIB", "/does/not/exist.so")
    with pytest.raises(EngineFailure, match=r"/does/not/exist\.so is not there: run `make lib`"):
        _lib.library()


def test_what_is_no_library(monkeypatch, tmp_path):
    path = tmp_path / "libllamatw.so"
    path.write_bytes(b"rubbish")
    monkeypatch.setenv("LLAMATW_LIB", str(path))
    with pytest.raises(EngineFailure, match="cannot be used"):
        _lib.library()

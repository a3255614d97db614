"""What the tests have in common: the real models, the shared reference data, the built engine.

A test that needs something that is not here is skipped with the reason; `make test` sees to it that all but the shared
reference data is.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llamatw import models
from llamatw.capi._lib import library_path
from llamatw.errors import ModelError

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Reference models and vectors: $LLAMATW_SHARED, else a directory `shared` beside the checkout."""
    path = Path(os.environ.get("LLAMATW_SHARED") or ROOT.parent / "shared")
    if not path.is_dir():
        pytest.skip(f"no shared reference data at {path} (LLAMATW_SHARED names it)")
    return path


@pytest.fixture(scope="session")
def engine_library() -> Path:
    """The built engine, which llamatw.capi will load."""
    path = Path(library_path())
    if not path.exists():
        pytest.skip(f"{path} has not been built (make lib)")
    return path


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct Q4_1, the default model."""
    return _model(models.DEFAULT)


@pytest.fixture(scope="session")
def gemma3() -> Path:
    """Gemma 3 270M Q4_K_M."""
    return _model("gemma3-270m")


def _model(name: str) -> Path:
    try:
        return models.resolve(name)
    except ModelError as error:
        pytest.skip(error.message)


@pytest.fixture(scope="session")
def c_test_programs() -> Path:
    """Where the C test programs and their libraries were built."""
    path = Path(os.environ.get("LLAMATW_C_TESTS") or ROOT / "build" / "make" / "tests")
    if not path.is_dir() or not any(path.iterdir()):
        pytest.skip(f"{path} has not been built (make test-c)")
    return path


@pytest.fixture(scope="session")
def emulator() -> list[str]:
    """The command that runs those programs when they are another machine's (`make arm`)."""
    command = os.environ.get("LLAMATW_EMULATOR", "").split()
    if not command:
        pytest.skip("the C programs are this machine's (LLAMATW_EMULATOR names what runs another's)")
    return command

"""Runs every C test program, one case each.  `make test` builds them and says where they are (LLAMATW_C_TESTS).

`make arm` also says what runs them (LLAMATW_EMULATOR).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "tests" / "clib").rglob("test_*.c"))
TIME_LIMIT_S = 600


def programs() -> Path:
    return Path(os.environ.get("LLAMATW_C_TESTS") or ROOT / "build" / "make" / "tests")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_c_program(source: Path) -> None:
    program = programs() / source.stem
    if not program.exists():
        assert "LLAMATW_C_TESTS" not in os.environ, f"{program} is missing"
        pytest.skip(f"{program} has not been built (make test-c)")
    command = [*os.environ.get("LLAMATW_EMULATOR", "").split(), program]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=TIME_LIMIT_S)
    assert result.returncode == 0, f"exit status {result.returncode}\n{result.stdout}{result.stderr}"


def test_there_are_c_tests() -> None:
    assert SOURCES

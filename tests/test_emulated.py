"""Another machine's engine, its programs run by an emulator, and this one's: the same bits.  See `make arm`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from llamatw.capi.engine import Engine, Row
from llamatw.settings import EngineSettings
from tests.golden import weights
from tests.references import GREEDY
from tests.test_golden_models import CASES, GOLDEN

pytestmark = pytest.mark.usefixtures("engine_library")


def logits_here(path: Path, ids: list[int]) -> bytes:
    settings = EngineSettings(model_path=str(path), n_ctx=128, n_seqs=1, n_batch=128)
    engine = Engine.open(path, settings)
    logits = np.empty((len(ids), engine.info.n_vocab), np.float32)
    engine.step([Row(engine.open_seq(ids, GREEDY)[0], len(ids), logits)])
    engine.close()
    return logits.tobytes()


def logits_there(path: Path, ids: list[int], programs: Path, emulator: list[str]) -> bytes:
    command = [*emulator, programs / "logits", path, *map(str, ids)]
    done = subprocess.run(command, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


@pytest.mark.parametrize("name", CASES)
def test_tiny_models(name: str, tmp_path: Path, c_test_programs: Path, emulator: list[str]) -> None:
    case = np.load(GOLDEN / f"{name}.npz")
    constants = {key.removeprefix("constant:"): case[key] for key in case.files if key.startswith("constant:")}
    path, ids = tmp_path / "model.gguf", case["prompt"].tolist()
    weights.write(path, json.loads(case["description"].tobytes()), constants)
    assert logits_there(path, ids, c_test_programs, emulator) == logits_here(path, ids)


@pytest.mark.parametrize("model", ["smollm2", "gemma3"])
def test_quantised_models(
    model: str, request: pytest.FixtureRequest, c_test_programs: Path, emulator: list[str]
) -> None:
    path, ids = request.getfixturevalue(model), list(range(1000, 1030))  # enough for the loops over many columns
    assert logits_there(path, ids, c_test_programs, emulator) == logits_here(path, ids)

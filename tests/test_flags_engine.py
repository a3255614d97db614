"""Flags about the use of the machine: each does what it says, on a small model of random weights."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import shapes
from llamatw.capi.engine import Engine, Row
from llamatw.capi.records import SamplingParams
from llamatw.errors import ModelError
from llamatw.settings import EngineSettings
from tests.live_server import ENVIRONMENT, serving

pytestmark = pytest.mark.usefixtures("engine_library")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("flags") / "tiny.gguf"
    shapes.write(shapes.SHAPES["tiny"], "Q8_0", path)
    return str(path)


def open_engine(model: str, **wishes: object) -> Engine:
    return Engine.open(model, EngineSettings(model_path=model, n_ctx=256, **wishes))  # type: ignore[arg-type]


# ---- threads -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ({"n_threads": 3}, (3, 3)),
        ({"n_threads": 1, "n_threads_batch": 2}, (1, 2)),
    ],
)
def test_threads(model: str, wishes: dict[str, int], expected: tuple[int, int]) -> None:
    engine = open_engine(model, **wishes)
    assert (engine.info.n_threads, engine.info.n_threads_batch) == expected
    engine.close()


def test_default_threads_follow_the_affinity(model: str) -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        engine = open_engine(model)
    finally:
        os.sched_setaffinity(0, allowed)
    assert (engine.info.n_threads, engine.info.n_threads_batch) == (1, 1)
    engine.close()
    engine = open_engine(model, n_threads_batch=5)
    assert 1 <= engine.info.n_threads <= len(allowed)
    assert engine.info.n_threads_batch == 5
    engine.close()


# ---- mlock -------------------------------------------------------------------------------------------------------

# Opens the model in a process of its own, without the capability that lifts the limit unless privileged.
LOCKER = """
import ctypes, json, re, resource, sys
from llamatw.capi.engine import Engine, Row
from llamatw.capi.records import SamplingParams
from llamatw.errors import ModelError
from llamatw.errors import LlamatwError
from llamatw.settings import EngineSettings
model, limit, privileged = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "True"
header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert privileged or ctypes.CDLL(None).capset(header, none) == 0
resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
def locked():
    return int(re.search(r"VmLck:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
try:
    engine = Engine.open(model, EngineSettings(model_path=model, n_ctx=256, n_threads=2, mlock=True))
except LlamatwError as error:
    print(json.dumps({"error": error.message, "after": locked()}))
else:
    info = engine.info
    said = {"wanted": info.weight_bytes + info.kv_bytes + info.scratch_bytes, "locked": locked()}
    engine.close()
    print(json.dumps({**said, "after": locked()}))
"""


def lock(model: str, limit: int, privileged: bool) -> dict[str, object]:
    command = [sys.executable, "-c", LOCKER, model, str(limit), str(privileged)]
    process = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    said: dict[str, object] = json.loads(process.stdout)
    return said


def test_mlock(model: str) -> None:
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    said = lock(model, hard, privileged=True)
    if "error" in said:
        pytest.skip(f"this system does not lock enough: {said['error']}")
    assert said["locked"] >= said["wanted"] > 0
    assert said["after"] == 0


def test_mlock_against_the_limit(model: str) -> None:
    said = lock(model, 65536, privileged=False)
    assert re.search(r"need \d{6,} bytes of locked memory, but RLIMIT_MEMLOCK .* is 65536 bytes", str(said["error"]))
    assert said["after"] == 0


def test_no_lock_unless_asked(model: str) -> None:
    engine = open_engine(model)
    assert re.search(r"VmLck:\s+0 kB", Path("/proc/self/status").read_text())
    engine.close()


# ---- loading -----------------------------------------------------------------------------------------------------


def logits_of(model: str, **wishes: object) -> np.ndarray:
    engine = open_engine(model, **wishes)
    logits = np.empty((40, engine.info.n_vocab), np.float32)
    seq, _ = engine.open_seq(range(3, 43), SamplingParams())
    engine.step([Row(seq, 40, logits)])
    engine.close()
    return logits


@pytest.mark.parametrize("load", ["read", "direct"])
@pytest.mark.parametrize("format", ["F32", "Q4_K_M", "IQ1_S"])
def test_the_same_bits_however_loaded(tmp_path: Path, load: str, format: str) -> None:
    path = str(tmp_path / "model.gguf")
    shapes.write(shapes.SHAPES["tiny"], format, Path(path))
    try:
        logits = logits_of(path, load=load, n_threads=3)
    except ModelError as error:
        if "no direct reads" in error.message:
            pytest.skip(error.message)
        raise
    assert np.array_equal(logits, logits_of(path))


def test_the_real_model_read(smollm2: Path) -> None:
    assert np.array_equal(logits_of(str(smollm2), load="read"), logits_of(str(smollm2)))


# ---- numa --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("numa", ["distribute", "isolate", "numactl"])
def test_numa_changes_nothing_but_places(model: str, numa: str) -> None:
    allowed = os.sched_getaffinity(0)
    assert np.array_equal(logits_of(model, numa=numa, n_threads=2), logits_of(model, n_threads=1))
    assert os.sched_getaffinity(0) == allowed


def test_the_flags_together_in_a_server(tmp_path: Path, smollm2: Path) -> None:
    with serving(tmp_path, "-m", str(smollm2), "--numa", "distribute", "-lm", "none", "-c", "512") as server:
        server.wait_for_health(200)
        assert server.complete({"prompt": "One two three", "n_predict": 4})["tokens_predicted"] == 4
        lines = [line for line in server.log.read_text().splitlines() if "--numa distribute: " in line]
    assert len(lines) == 1

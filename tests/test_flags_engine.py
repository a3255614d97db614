"""Flags about the use of the machine: each does what it says, on a small model of random weights."""

from __future__ import annotations

import os

import pytest

from bench import shapes
from llamatw.capi.engine import Engine
from llamatw.settings import EngineSettings

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

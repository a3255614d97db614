"""Flags that change how a model is read: overridden metadata, positions, the divided context."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import shapes
from llamatw.capi.engine import Engine, Row
from llamatw.capi.gguf import Gguf
from llamatw.capi.records import SamplingParams
from llamatw.errors import LlamatwError
from llamatw.settings import EngineSettings, Override, Positions

pytestmark = pytest.mark.usefixtures("engine_library")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("flags") / "tiny.gguf"
    shapes.write(shapes.SHAPES["tiny"], "Q8_0", path)
    return str(path)


def open_engine(model: str, **wishes: object) -> Engine:
    return Engine.open(model, EngineSettings(model_path=model, n_ctx=wishes.pop("n_ctx", 256), **wishes))  # type: ignore[arg-type]


def logits(model: str, *overrides: Override, **positions: object) -> np.ndarray:
    engine = open_engine(model, overrides=overrides, positions=Positions(**positions), n_threads=1)  # type: ignore[arg-type]
    found = np.empty((60, engine.info.n_vocab), np.float32)
    seq, _ = engine.open_seq(range(3, 63), SamplingParams())
    engine.step([Row(seq, 60, found)])
    engine.close()
    return found


def same(left: np.ndarray, right: np.ndarray) -> bool:
    return bool(np.array_equal(left, right))


def rope(name: str, value: float | int | str) -> Override:
    return Override(key=f"llama.rope.{name}", value=value)


def test_positions_are_the_metadata_that_they_stand_for(model: str) -> None:
    own = logits(model)
    linear = rope("scaling.type", "linear"), rope("scaling.factor", 2.0)
    yarn = rope("scaling.type", "yarn"), rope("scaling.factor", 4.0), rope("scaling.original_context_length", 32)
    pairs = [
        (logits(model, factor=2.0), logits(model, *linear)),
        (logits(model, scaling="linear", factor=2.0), logits(model, *linear)),
        (logits(model, base=5e3), logits(model, rope("freq_base", 5e3))),
        (logits(model, scaling="yarn", factor=4.0, original_ctx=32), logits(model, *yarn)),
    ]
    assert all(same(left, right) for left, right in pairs)
    assert not any(same(left, own) for left, _ in pairs)
    assert same(logits(model, scaling="none"), own)
    assert same(logits(model, rope("scaling.type", "yarn"), scaling="none"), own), "the flag of its own wins"


@pytest.mark.parametrize("name", ["ext_factor", "attn_factor", "beta_slow", "beta_fast"])
def test_every_yarn_flag_counts(model: str, name: str) -> None:
    yarn = {"scaling": "yarn", "factor": 4.0, "original_ctx": 512}
    changed = {"ext_factor": 0.5, "attn_factor": 1.5, "beta_slow": 4.0, "beta_fast": 8.0}
    assert not same(logits(model, **yarn), logits(model, **yarn, **{name: changed[name]}))


def test_a_file_that_scales_by_itself(shared_dir: Path) -> None:
    """The oracle's file has a linear factor of its own."""
    path = str(shared_dir / "oracles" / "llama-linear" / "model.gguf")
    with Gguf.open(path) as file:
        factor = file.get("llama.rope.scaling.factor")
    assert same(logits(path, factor=factor), logits(path))
    assert not same(logits(path, factor=2 * factor), logits(path))
    assert same(logits(path, scaling="none"), logits(path, rope("scaling.factor", 1.0)))


def test_yarn_without_a_yarn_model_is_refused(model: str) -> None:
    with pytest.raises(LlamatwError, match=r"rope.scaling.yarn_beta_fast is overridden, but .* nothing reads it"):
        open_engine(model, positions=Positions(beta_fast=8.0))


def test_overrides_are_seen_and_checked(model: str) -> None:
    engine = open_engine(model, n_ctx=0, overrides=(Override(key="llama.context_length", value=300),))
    assert (engine.info.n_ctx, engine.model.metadata["llama.context_length"]) == (300, 300)
    engine.close()
    engine = open_engine(model, n_ctx=None, overrides=(Override(key="llama.context_length", value=300),))
    assert engine.info.n_ctx == 300
    engine.close()
    template = Override(key="tokenizer.chat_template", value="{{ messages }}")
    engine = open_engine(model, overrides=(template,))
    assert engine.model.chat_template == "{{ messages }}"
    engine.close()
    for key, value in (("llama.context_length", "300"), ("llama.nothing", 3), ("llama.rope.freq_base", 3)):
        with pytest.raises(LlamatwError, match=key):
            open_engine(model, overrides=(Override(key=key, value=value),))


def test_divided_context(model: str) -> None:
    engine = open_engine(model, n_ctx=512, n_seqs=5, n_guests=1, unified=False, cache_mib=0)
    assert (engine.info.n_ctx, engine.info.n_pages) == (128, 8)
    engine.close()
    engine = open_engine(model, n_ctx=0, n_seqs=4, unified=False, cache_mib=0)
    assert (engine.info.n_ctx, engine.info.n_pages) == (1024, 64)
    engine.close()
    with pytest.raises(LlamatwError, match="cannot be divided by 4 slots"):
        open_engine(model, n_ctx=3, unified=False)

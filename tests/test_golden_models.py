"""The engine in float32 against the tiny models of tests/golden, and docs/models.md against both."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from llamatw.capi.engine import Engine
from llamatw.settings import EngineSettings
from tests.golden import weights
from tests.references import Reference, compare

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.stem for path in GOLDEN.glob("*.npz"))


@pytest.mark.usefixtures("engine_library")
@pytest.mark.parametrize("name", CASES)
def test_logits_and_greedy_text(name: str, tmp_path: Path) -> None:
    case = np.load(GOLDEN / f"{name}.npz")
    description = json.loads(case["description"].tobytes())
    constants = {key.removeprefix("constant:"): case[key] for key in case.files if key.startswith("constant:")}
    weights.write(tmp_path / "model.gguf", description, constants)
    settings = EngineSettings(model_path=name, n_ctx=128, n_seqs=1, n_batch=64, k_type="f32", v_type="f32")
    prompt, greedy = case["prompt"].tolist(), case["greedy"].tolist()
    reference = Reference(name, description["by"], description["shows"], prompt, greedy, case["logits"], case["rows"])
    compare(Engine.open(tmp_path / "model.gguf", settings), reference)


def test_every_architecture_is_compared_with_something(root: Path) -> None:
    """docs/models.md has a row for each row of the engine's table, and names the cases."""
    served = set(re.findall(r'\.arch = "([^"]+)"', (root / "clib/src/models/traits.c").read_text()))
    page = (root / "docs/models.md").read_text().split("## ")[0]
    rows = dict(re.findall(r"^\| `([^`]+)` \|[^|]*\|([^|]*)\|$", page, re.MULTILINE))
    assert served == set(rows), "make models"
    named = {name for cases in rows.values() for name in re.findall(r"([\w-]+)\*?\+? \*{0,2}\d", cases)}
    assert set(CASES) <= named, "make models"

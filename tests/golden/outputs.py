"""What a case stores of a reference: logits of some rows, the greedy text, and how the file is made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.golden import weights

HERE = Path(__file__).parent
N_PROMPT, N_GREEDY, ROWS = 48, 12, [0, 1, 7, 17, 31, 47]
MIN_MARGIN, MIN_IDS = 0.02, 4  # between the best two logits of every greedy step; different greedy ids

Run = Callable[[list[int]], np.ndarray]  # ids to logits [n, N_VOCAB]


class Outputs(NamedTuple):
    seed: int
    prompt: list[int]
    logits: np.ndarray  # of ROWS
    greedy: list[int]
    margin: float  # the smallest


def outputs(run: Run, seed: int) -> Outputs:
    prompt = np.random.default_rng(seed).integers(3, weights.N_VOCAB, N_PROMPT).tolist()
    logits = run(prompt)
    rows, ids, margin = logits[ROWS].astype(np.float32), list(prompt), np.inf
    for _ in range(N_GREEDY):
        best = np.argsort(logits[-1])[::-1]
        margin = min(margin, float(logits[-1][best[0]] - logits[-1][best[1]]))
        ids.append(int(best[0]))
        logits = run(ids)
    return Outputs(seed, prompt, rows, ids[len(prompt) :], margin)


def choose(run_of: Callable[[int], Run]) -> Outputs:
    """Of the seed whose greedy text is clear and not monotonous."""
    best = None
    for seed in range(1, 17):
        found = outputs(run_of(seed), seed)
        rank = len(set(found.greedy)) >= MIN_IDS, found.margin
        if best is None or rank > best[0]:
            best = rank, found
        if rank[0] and found.margin >= MIN_MARGIN:
            break
    assert best is not None
    return best[1]


def save(name: str, description: dict[str, Any], constants: dict[str, np.ndarray], found: Outputs) -> None:
    raw = np.frombuffer(json.dumps(description | {"seed": found.seed}).encode(), np.uint8)
    arrays = {f"constant:{tensor}": values for tensor, values in constants.items()}
    arrays |= {"description": raw, "logits": found.logits, "rows": np.array(ROWS, np.int32)}
    arrays |= {"prompt": np.array(found.prompt, np.int32), "greedy": np.array(found.greedy, np.int32)}
    path = HERE / f"{name}.npz"
    np.savez_compressed(path, **arrays)
    spread = f"logits +-{found.logits.std():.2f}, {len(set(found.greedy))} greedy ids, margin {found.margin:.3f}"
    print(f"{name}: {description['arch']}, seed {found.seed}, {spread}, {path.stat().st_size} bytes", flush=True)

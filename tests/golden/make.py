"""Makes the reference outputs of this folder.  By hand only: needs torch, transformers and llama.cpp's converter.

    PYTHONPATH=LLAMA_CPP python -m tests.golden.make [CASE...]

LLAMA_CPP is the source of llama.cpp, which source distributions of llama-cpp-python carry in vendor/.

Nothing here knows how a checkpoint becomes a GGUF file.  A checkpoint whose elements are their own numbers goes through
the converter twice, the second time with all numbers doubled: what comes out says where each element of the file comes
from and what was added to it.  So weights can be drawn for the file, and put back into the checkpoint for the
reference: transformers in float32, eager, without a cache; or, for architectures that it does not have, a statement in
NumPy (statements.py).  A case stores outputs and the file's description, no weights (weights.py).
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import conversion  # first: it brings the gguf that it needs
import gguf
import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file

from tests.golden import dense, elsewhere, experts, layouts, statements, weights
from tests.golden.case import Case

CASES = {case.name: case for case in dense.CASES + experts.CASES + elsewhere.CASES}
HERE = Path(__file__).parent
N_PROMPT, N_GREEDY, ROWS = 48, 12, [0, 1, 7, 17, 31, 47]
MIN_MARGIN, MIN_IDS = 0.02, 4  # between the best two logits of every greedy step; different greedy ids
NOT_TEXT = ("visual.", "vision_", "audio_", "multi_modal_projector")

Checkpoint = dict[str, np.ndarray]
Run = Callable[[list[int]], np.ndarray]  # ids to logits [n, N_VOCAB]


class Reference:
    """A model by transformers, or by a statement of ours."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.folder = case, folder
        self.statement = getattr(statements, case.of, None)
        folder.mkdir()
        if self.statement:
            self.config: dict[str, Any] = {**case.config, "architectures": [case.of]}
            self.empty: Checkpoint = {k: np.zeros(v, np.float32) for k, v in self.statement.shapes(case.config).items()}
            return
        kind = getattr(transformers, case.of)
        kind(kind.config_class(**case.config)).float().save_pretrained(folder)
        self.empty = dict(_load(folder / "model.safetensors"))
        self.config = json.loads((folder / "config.json").read_text())

    def save(self, checkpoint: Checkpoint) -> None:
        save_file(checkpoint, self.folder / "model.safetensors", {"format": "pt"})
        (self.folder / "config.json").write_text(json.dumps(self.config))

    def run(self, checkpoint: Checkpoint) -> Run:
        """The model with these weights."""
        self.save(checkpoint)
        if self.statement:
            wide = {name: values.astype(np.float64) for name, values in checkpoint.items()}
            return lambda ids: self.statement(self.case.config, wide).logits(ids)
        kind = getattr(transformers, self.case.of)
        model = kind.from_pretrained(self.folder, attn_implementation="eager", dtype=torch.float32).eval()
        model.set_experts_implementation("eager")

        def run(ids: list[int]) -> np.ndarray:
            with torch.no_grad():
                return model(torch.tensor([ids]), use_cache=False).logits[0].numpy()

        return run


def _load(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    for name, values in load_file(path).items():
        if values.dtype == np.float32:
            yield name, values


def numbered(empty: Checkpoint, factor: int) -> Checkpoint:
    result, first = {}, 1
    for name, values in empty.items():
        result[name] = (factor * np.arange(first, first + values.size, dtype=np.float32)).reshape(values.shape)
        first += values.size
    if 2 * first >= 2**24:
        raise ValueError("too many weights to number them in float32")
    return result


def convert(reference: Reference, checkpoint: Checkpoint) -> tuple[str, dict[str, Any], Checkpoint]:
    """Architecture, metadata, tensors of the file that the converter makes."""
    reference.save(checkpoint)
    hparams = conversion.ModelBase.load_hparams(reference.folder, False) | reference.case.converter
    name = conversion.get_model_architecture(hparams, conversion.ModelType.TEXT)
    kind = layouts.OWN.get(name) or conversion.get_model_class(name)
    bare = type(kind.__name__, (kind,), {"model_arch": kind.model_arch, "set_vocab": lambda self: None})
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "model.gguf")
        bare(reference.folder, gguf.LlamaFileType.ALL_F32, path, hparams=hparams).write()
        reader = gguf.GGUFReader(path)
        fields = {key: _pair(field) for key, field in reader.fields.items()}
        found = {
            t.name: np.array(t.data, np.float32).reshape(tuple(int(n) for n in reversed(t.shape)))
            for t in reader.tensors
        }
    arch = fields["general.architecture"][2]
    return arch, {k: v for k, v in fields.items() if k.startswith(f"{arch}.")}, found


def _pair(field: Any) -> tuple[str, str | None, Any]:
    value = field.contents()
    kind = field.types[0].name
    return kind, field.types[1].name if kind == "ARRAY" else None, value


def plan(reference: Reference) -> tuple[dict[str, Any], Checkpoint, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """The file's description, its constants, and for each drawn tensor the checkpoint's elements and what is added."""
    arch, metadata, once = convert(reference, numbered(reference.empty, 1))
    twice = convert(reference, numbered(reference.empty, 2))[2]
    sources: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    copies, constants = {}, {}
    taken: dict[int, str] = {}
    for name, values in once.items():
        source = (twice[name] - values).astype(np.int64).ravel()
        if not source.any():
            constants[name] = values
        elif (first := taken.get(int(source[0]))) is not None:
            if not np.array_equal(sources[first][0], source):
                raise ValueError(f"{name} and {first} share elements")
            copies[name] = first
        else:
            if source.min() < 1 or len(set(source.tolist())) != source.size:
                raise ValueError(f"{name} is not a permutation")
            sources[name] = (source, (values - (twice[name] - values)).ravel())
            taken.update(dict.fromkeys(source.tolist(), name))
    _check_all_taken(reference.empty, taken)
    shapes = {name: list(once[name].shape) for name in sources}
    metadata |= reference.case.metadata
    return {"arch": arch, "metadata": metadata, "tensors": shapes, "copies": copies}, constants, sources


def _check_all_taken(empty: Checkpoint, taken: dict[int, str]) -> None:
    first = 1
    for name, values in empty.items():
        left = [i for i in range(first, first + values.size) if i not in taken]
        if left and not any(part in name for part in NOT_TEXT):
            print(f"  {name}: {len(left)} of {values.size} elements are not in the file")
        first += values.size


def put_back(empty: Checkpoint, drawn: Checkpoint, sources: dict[str, tuple[np.ndarray, np.ndarray]]) -> Checkpoint:
    flat = np.concatenate([np.zeros(1, np.float32), *(values.ravel() for values in empty.values())])
    for name, (source, added) in sources.items():
        flat[source] = drawn[name].ravel() - added
    cuts = np.cumsum([1] + [values.size for values in empty.values()])
    return {name: flat[a : a + v.size].reshape(v.shape) for a, (name, v) in zip(cuts, empty.items(), strict=False)}


def outputs(run: Run, prompt: list[int]) -> tuple[np.ndarray, list[int], float]:
    """Logits of ROWS, greedy ids, the smallest margin."""
    logits = run(prompt)
    rows, ids, margin = logits[ROWS], list(prompt), np.inf
    for _ in range(N_GREEDY):
        best = np.argsort(logits[-1])[::-1]
        margin = min(margin, float(logits[-1][best[0]] - logits[-1][best[1]]))
        ids.append(int(best[0]))
        logits = run(ids)
    return rows.astype(np.float32), ids[len(prompt) :], margin


def make(case: Case) -> None:
    with tempfile.TemporaryDirectory() as directory:
        reference = Reference(case, Path(directory, case.name))
        description, constants, sources = plan(reference)
        best: tuple[bool, float, int, Any] = (False, -1.0, 0, None)
        for seed in range(1, 17):
            prompt = np.random.default_rng(seed).integers(3, weights.N_VOCAB, N_PROMPT).tolist()
            drawn = weights.tensors(description | {"seed": seed}, {})
            run = reference.run(put_back(reference.empty, drawn, sources))
            rows, greedy, margin = outputs(run, prompt)
            varied = len(set(greedy)) >= MIN_IDS
            best = max(best, (varied, margin, seed, (prompt, rows, greedy)), key=lambda item: item[:2])
            if varied and margin >= MIN_MARGIN:
                break
    _, margin, seed, (prompt, rows, greedy) = best
    text = json.dumps(
        description | {"seed": seed, "by": "numpy" if reference.statement else "transformers", "shows": case.shows}
    )
    arrays = {f"constant:{name}": values for name, values in constants.items()}
    raw = np.frombuffer(text.encode(), np.uint8)
    arrays |= {"description": raw, "prompt": np.array(prompt, np.int32), "greedy": np.array(greedy, np.int32)}
    path = HERE / f"{case.name}.npz"
    np.savez_compressed(path, rows=np.array(ROWS, np.int32), logits=rows, **arrays)
    spread = f"logits +-{rows.std():.2f}, {len(set(greedy))} greedy ids, margin {margin:.3f}"
    print(f"{case.name}: {description['arch']}, seed {seed}, {spread}, {path.stat().st_size} bytes", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    wishes = parser.parse_args()
    logging.disable(logging.WARNING)
    transformers.logging.disable_progress_bar()
    for name in wishes.cases or CASES:
        make(CASES[name])


if __name__ == "__main__":
    main()

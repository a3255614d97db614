"""Models with recurrent layers: the same bits cold, in chunks, in company, from a checkpoint, on any threads."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from llamatw.capi.engine import Engine, Row
from llamatw.capi.records import Code, SamplingParams
from llamatw.errors import EngineFailure, ModelError
from llamatw.settings import EngineSettings
from tests import recurrent_models

GREEDY = SamplingParams(temperature=0, ignore_eos=True)
N_PROMPT, N_NEW = 300, 70  # generation crosses the end of a page


@pytest.fixture(scope="module", params=sorted(recurrent_models.LAYERS))
def path(request: pytest.FixtureRequest, engine_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recurrent_models.write(request.param, tmp_path_factory.mktemp("recurrent") / f"{request.param}.gguf")


def open_engine(path: Path, n_threads: int = 2, **more: int) -> Engine:
    settings = {"n_ctx": 4096, "n_seqs": 4, "n_batch": 512, "unified": False, **more}
    return Engine.open(path, EngineSettings(model_path=str(path), n_threads=n_threads, **settings))


@pytest.fixture(scope="module")
def engine(path: Path) -> Iterator[Engine]:
    engine = open_engine(path)
    yield engine
    engine.close()


def ids(seed: int, n: int) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(259, recurrent_models.N_VOCAB) for _ in range(n)]


class Run:
    """A sequence that notes its logits' bits after each chunk."""

    def __init__(self, engine: Engine, prompt: list[int], chunk: int = 512, use_cache: bool = True) -> None:
        self.engine, self.chunk, self.n_total = engine, chunk, len(prompt)
        self.seq, self.n_computed = engine.open_seq(prompt, GREEDY, use_cache=use_cache)
        self.n_cached = self.n_computed
        self.tokens: list[int] = []
        self.logits: list[bytes] = []

    def row(self) -> Row:
        n = min(self.chunk, self.n_total - self.n_computed)
        return Row(self.seq, n, np.empty((n, self.engine.info.n_vocab), np.float32))

    def take(self, row: Row, token: int) -> None:
        self.n_computed += row.advance
        if token >= 0:
            self.tokens.append(token)
            self.n_total += 1
            self.logits.append(row.logits[-1].tobytes())

    def close(self, keep: bool = True) -> None:
        self.engine.close_seq(self.seq, keep)


def together(engine: Engine, runs: list[Run], n_new: int) -> None:
    while waiting := [run for run in runs if len(run.tokens) < n_new]:
        rows = [run.row() for run in waiting]
        for run, row, out in zip(waiting, rows, engine.step(rows), strict=True):
            run.take(row, out.token)


def alone(engine: Engine, prompt: list[int], n_new: int = N_NEW, **how: int) -> Run:
    run = Run(engine, prompt, **how)
    together(engine, [run], n_new)
    run.close()
    return run


@pytest.fixture(scope="module")
def expected(path: Path) -> Run:
    engine = open_engine(path, n_threads=1)
    run = alone(engine, ids(1, N_PROMPT), use_cache=False)
    engine.close()
    return run


def agrees(run: Run, expected: Run) -> bool:
    return (run.tokens, run.logits) == (expected.tokens[: len(run.tokens)], expected.logits[: len(run.logits)])


@pytest.mark.parametrize("chunk", [1, 7, 64, 130])
def test_chunks(engine: Engine, expected: Run, chunk: int) -> None:
    assert agrees(alone(engine, ids(1, N_PROMPT), n_new=5, chunk=chunk, use_cache=False), expected)


def test_company_and_threads(path: Path, expected: Run) -> None:
    for n_threads in (1, 2, 3):
        engine = open_engine(path, n_threads)
        runs = [Run(engine, ids(seed, n), chunk) for seed, n, chunk in ((5, 90, 13), (1, N_PROMPT, 50), (6, 200, 77))]
        together(engine, runs, N_NEW)
        assert agrees(runs[1], expected)
        engine.close()


@pytest.mark.parametrize("shared", [0, 63, 64, 65, 200, 256, 299])
def test_a_prefix_is_taken_up_to_where_a_prompt_parted_from_it_before(path: Path, expected: Run, shared: int) -> None:
    """The first of two prompts that share their beginning knows nothing of the second; the second leaves a checkpoint
    where they part, the third begins there."""
    engine = open_engine(path)
    prompt = ids(1, N_PROMPT)
    for seed in (2, 3):
        alone(engine, prompt[:shared] + ids(seed, 120), n_new=1)
    run = alone(engine, prompt)
    assert run.n_cached == shared // 64 * 64 and agrees(run, expected)
    engine.close()


def test_a_conversation_goes_on_from_its_last_page(path: Path, expected: Run) -> None:
    engine = open_engine(path)
    prompt = ids(1, N_PROMPT)
    first = alone(engine, prompt)
    more = Run(engine, prompt + first.tokens + ids(4, 10))
    assert more.n_cached == (N_PROMPT + N_NEW - 1) // 64 * 64
    more.close()
    again = alone(engine, prompt)
    assert again.n_cached == N_PROMPT // 64 * 64 and agrees(again, expected)
    engine.close()


def test_one_takes_what_another_has_computed_meanwhile(path: Path, expected: Run) -> None:
    """A prompt that is being read gets a checkpoint where a later one parts from it."""
    engine = open_engine(path)
    prompt = ids(1, N_PROMPT)
    ahead, behind = Run(engine, prompt[:200] + ids(2, 100), chunk=150), Run(engine, prompt)
    assert behind.n_cached == 0
    for _ in range(2):
        row = ahead.row()
        ahead.take(row, engine.step([row])[0].token)
    behind.n_computed = engine.adopt(behind.seq)
    assert behind.n_computed == 192
    together(engine, [behind], N_NEW)
    assert agrees(behind, expected)
    before = behind.n_computed
    assert engine.adopt(behind.seq) == before, "nobody has more"
    engine.close()


def test_checkpoints_are_few_and_make_room(path: Path, expected: Run) -> None:
    """Many histories pass; the answer stays the same, whatever is left of its own."""
    engine = open_engine(path, n_ctx=640, unified=True)
    prompt, draw = ids(1, N_PROMPT), random.Random(8)
    for i in range(12):
        alone(engine, prompt[: draw.randrange(300)] + ids(100 + i, draw.randrange(1, 300)), n_new=draw.randrange(1, 40))
        if i % 3 == 2:
            assert agrees(alone(engine, prompt, n_new=20, chunk=draw.choice([9, 64, 512])), expected)
    engine.close()


def test_what_is_not_served_is_refused(path: Path, engine: Engine) -> None:
    seq, _ = engine.open_seq(ids(1, 70), GREEDY)
    engine.step([Row(seq, 70)])
    refused = [
        lambda: engine.step([Row(seq, 1, n_draft=2)]),
        lambda: engine.shift_seq(seq, 0, 10),
        lambda: engine.read_page(seq, 0),
        lambda: engine.write_page(seq, 1, b""),
    ]
    for call in refused:
        with pytest.raises(EngineFailure, match="has recurrent layers") as error:
            call()
        assert error.value.code == Code.UNSUPPORTED
    engine.close_seq(seq)
    assert engine.info.state_bytes > 0 and engine.model.is_recurrent
    with pytest.raises(Exception, match=r"self-extend: .* has recurrent layers"):
        open_engine(path, group_n=2, group_w=64)


def test_norms_without_weights_are_norms_of_ones(tmp_path: Path, engine_library: Path) -> None:
    n = recurrent_models
    sizes = {"dt": n.N_HEAD, "b": n.N_STATE, "c": n.N_STATE}
    ones = {f"ssm_{name}_norm.weight": (size,) for name, size in sizes.items()}
    paths = [
        n.write("mamba", tmp_path / "none.gguf"),
        n.write("mamba", tmp_path / "flag.gguf", {"dt_b_c_rms": True}),
        n.write("mamba", tmp_path / "ones.gguf", parts=ones),
    ]
    runs = []
    for path in paths:
        engine = open_engine(path)
        runs.append(alone(engine, ids(1, 80), n_new=3))
        engine.close()
    assert runs[1].logits == runs[2].logits != runs[0].logits


@pytest.mark.usefixtures("engine_library")
@pytest.mark.parametrize(
    ("arch", "numbers", "parts", "match"),
    [
        ("mamba2", {"conv_kernel": 17}, {}, r"mamba2.ssm.conv_kernel is 17, must be 2..16"),
        ("mamba2", {"conv_kernel": 1}, {}, r"mamba2.ssm.conv_kernel is 1, must be 2..16"),
        ("mamba2", {"time_step_rank": 7}, {}, r"inner_size by time_step_rank: 128 is not a multiple of 7"),
        ("qwen35", {"group_count": 3}, {}, r"inner_size by group_count: 128 is not a multiple of 3"),
        ("qwen35", {"group_count": 16}, {}, r"time_step_rank by group_count: 8 is not a multiple of 16"),
        ("qwen35", {"state_size": 0}, {}, r"qwen35.ssm.state_size is 0, must be 1..4096"),
        ("qwen35", {"state_size": 4096}, {}, r"blk.0.attn_qkv.weight is \[64, 192, 1, 1\], must be"),
        ("mamba2", {}, {"ssm_conv1d.weight": (192, 3)}, r"blk.0.ssm_conv1d.weight has 576 elements, must have 768"),
        ("mamba2", {}, {"ssm_a": (7,)}, r"blk.0.ssm_a has 7 elements, must have 8"),
        ("mamba2", {}, {"ssm_d": ()}, r"tensor blk.0.ssm_d is missing"),
        ("qwen35", {}, {"ssm_d": (8,)}, r"tensor blk.0.ssm_d is in the file, but not in the qwen35 decoder"),
        ("qwen35", {}, {"ssm_beta.weight": ()}, r"tensor blk.0.ssm_beta.weight is missing"),
    ],
)
def test_wrong_files_are_refused(
    tmp_path: Path, arch: str, numbers: dict[str, int], parts: dict[str, tuple[int, ...]], match: str
) -> None:
    with pytest.raises(ModelError, match=match):
        open_engine(recurrent_models.write(arch, tmp_path / "wrong.gguf", numbers, parts))

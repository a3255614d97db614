"""The worker that measures our engine, through the same Python layer that the server uses."""

from __future__ import annotations

from bench.workload import (
    BATCHES,
    N_BATCHED,
    N_CTX,
    N_GENERATE,
    N_HEAD_START,
    N_PROMPT,
    Job,
    Rates,
    prompt,
    rate,
    worker_main,
)
from llamatw.capi.engine import Engine, Row
from llamatw.engine.sequence import SamplingParams
from llamatw.settings import EngineSettings

GREEDY = SamplingParams(temperature=0.0, ignore_eos=True)


def measure(job: Job) -> Rates:
    settings = EngineSettings(
        model_path=job.model,
        n_ctx=N_CTX,
        n_seqs=max(BATCHES),
        n_batch=N_PROMPT,
        n_threads=job.threads,
        n_threads_batch=job.threads,
    )
    engine = Engine.open(job.model, settings)
    try:
        _round(engine, seed=0)  # warm-up
        rounds = [_round(engine, seed) for seed in range(1, job.repeats + 1)]
    finally:
        engine.close()
    return {test: [figures[test] for figures in rounds] for test in rounds[0]}


def _round(engine: Engine, seed: int) -> dict[str, float]:
    figures = {f"pp{N_PROMPT}": _prompt_rate(engine, seed)}
    figures[f"tg{N_GENERATE}"] = _decode_rate(engine, 1, N_GENERATE, seed)
    for n_seqs in BATCHES:
        figures[f"b{n_seqs}"] = _decode_rate(engine, n_seqs, N_BATCHED, seed)
    return figures


def _open(engine: Engine, n_tokens: int, seed: int) -> int:
    ids = prompt(n_tokens, engine.info.n_vocab, seed)
    seq, _ = engine.open_seq(ids, GREEDY, scope=0, use_cache=False)
    return seq


def _prompt_rate(engine: Engine, seed: int) -> float:
    seq = _open(engine, N_PROMPT, seed)
    figure = rate(N_PROMPT, lambda: engine.step([Row(seq, N_PROMPT)]))
    engine.close_seq(seq, keep=False)
    return figure


def _decode_rate(engine: Engine, n_seqs: int, n_steps: int, seed: int) -> float:
    seqs = [_open(engine, N_HEAD_START, 100 * seed + i) for i in range(n_seqs)]
    for seq in seqs:
        engine.step([Row(seq, N_HEAD_START)])
    rows = [Row(seq, 1) for seq in seqs]
    figure = rate(n_seqs * n_steps, lambda: [engine.step(rows) for _ in range(n_steps)])
    for seq in seqs:
        engine.close_seq(seq, keep=False)
    return figure


if __name__ == "__main__":
    worker_main(measure)

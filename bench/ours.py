"""The worker that measures our engine, through the same Python layer that the server uses."""

from __future__ import annotations

from bench.workload import N_BATCH, Job, worker_main
from llamatw.capi.engine import Engine, Row
from llamatw.capi.records import SamplingParams
from llamatw.settings import EngineSettings

GREEDY = SamplingParams(temperature=0.0, ignore_eos=True)
PAGE_TOKENS = 64  # the pool is dealt out in pages


class Ours:
    def __init__(self, job: Job) -> None:
        self.engine = Engine.open(job.model, _settings(job))
        self.n_vocab = self.engine.info.n_vocab
        self.rows: list[Row] = []

    def start(self, prompts: list[list[int]], n_each: int) -> None:
        for row in self.rows:
            self.engine.close_seq(row.seq, keep=False)
        self.rows = [Row(self.engine.open_seq(ids, GREEDY, use_cache=False)[0], 1) for ids in prompts]

    def advance(self, seq: int, n_tokens: int) -> None:
        self.engine.step([Row(self.rows[seq].seq, n_tokens)])

    def generate(self) -> None:
        self.engine.step(self.rows)


def _settings(job: Job) -> EngineSettings:
    return EngineSettings(
        model_path=job.model,
        n_ctx=max(test.n_seqs * (test.n_each + PAGE_TOKENS) for test in job.tests),
        n_seqs=max(test.n_seqs for test in job.tests),
        n_batch=N_BATCH,
        n_threads=job.threads,
        n_threads_batch=job.threads,
        k_type=job.k_type,
        v_type=job.v_type,
    )


if __name__ == "__main__":
    worker_main(Ours)

"""The worker that measures llama.cpp through llama-cpp-python's low-level interface, with its defaults.

It is given every advantage that its own benchmark takes: no sampling, no detokenising, logits only where needed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import llama_cpp

from bench.workload import (
    BATCHES,
    N_BATCHED,
    N_GENERATE,
    N_HEAD_START,
    N_PROMPT,
    Job,
    Rates,
    prompt,
    rate,
    worker_main,
)

N_CTX_EACH = 1024


class Peer:
    """A loaded model with one context; `decode` runs (sequence, position, token) rows in one batch."""

    def __init__(self, job: Job) -> None:
        self._silence = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self._silence, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(job.model.encode(), llama_cpp.llama_model_default_params())
        wishes = llama_cpp.llama_context_default_params()
        wishes.n_batch = wishes.n_ubatch = N_PROMPT
        wishes.n_seq_max = max(BATCHES)
        wishes.n_ctx = N_CTX_EACH * max(BATCHES)  # its sequences have a share each
        wishes.n_threads = wishes.n_threads_batch = job.threads
        self.context = llama_cpp.llama_init_from_model(self.model, wishes)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.batch = llama_cpp.llama_batch_init(N_PROMPT, 0, 1)

    def decode(self, rows: Sequence[tuple[int, int, int]], logits_of: Sequence[int]) -> None:
        batch = self.batch
        batch.n_tokens = len(rows)
        for i, (seq, position, token) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, 0
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, seq
        for i in logits_of:
            batch.logits[i] = 1
        if llama_cpp.llama_decode(self.context, batch) != 0:
            raise RuntimeError("llama_decode failed")
        llama_cpp.llama_synchronize(self.context)

    def forget(self) -> None:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)


def measure(job: Job) -> Rates:
    peer = Peer(job)
    _round(peer, seed=0)  # warm-up
    rounds = [_round(peer, seed) for seed in range(1, job.repeats + 1)]
    return {test: [figures[test] for figures in rounds] for test in rounds[0]}


def _round(peer: Peer, seed: int) -> dict[str, float]:
    figures = {f"pp{N_PROMPT}": _prompt_rate(peer, seed)}
    figures[f"tg{N_GENERATE}"] = _decode_rate(peer, 1, N_GENERATE, seed)
    for n_seqs in BATCHES:
        figures[f"b{n_seqs}"] = _decode_rate(peer, n_seqs, N_BATCHED, seed)
    return figures


def _prompt_rate(peer: Peer, seed: int) -> float:
    peer.forget()
    rows = [(0, i, token) for i, token in enumerate(prompt(N_PROMPT, peer.n_vocab, seed))]
    return rate(N_PROMPT, lambda: peer.decode(rows, [N_PROMPT - 1]))


def _decode_rate(peer: Peer, n_seqs: int, n_steps: int, seed: int) -> float:
    peer.forget()
    prompts = [prompt(N_HEAD_START + n_steps, peer.n_vocab, 100 * seed + i) for i in range(n_seqs)]
    for seq, ids in enumerate(prompts):
        peer.decode([(seq, i, token) for i, token in enumerate(ids[:N_HEAD_START])], [N_HEAD_START - 1])

    def generate() -> None:
        for i in range(N_HEAD_START, N_HEAD_START + n_steps):
            peer.decode([(seq, i, ids[i]) for seq, ids in enumerate(prompts)], range(n_seqs))

    return rate(n_seqs * n_steps, generate)


if __name__ == "__main__":
    worker_main(measure)

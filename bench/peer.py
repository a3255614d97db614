"""The worker that measures llama.cpp through llama-cpp-python's low-level interface, with its defaults.

It is given every advantage that its own benchmark takes: no sampling, no detokenising, logits only where needed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import llama_cpp

from bench.workload import N_BATCH, Job, worker_main

KV_TYPES = {"f32": 0, "f16": 1, "i16": 1, "q8_0": 8, "bf16": 30}  # ggml type numbers; i16 is ours: f16 instead


class Peer:
    """A loaded model, a context for each size that a test needs, and the sequences in the last one started."""

    def __init__(self, job: Job) -> None:
        self._silence = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self._silence, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self.job = job
        self.model = llama_cpp.llama_model_load_from_file(job.model.encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            raise RuntimeError(f"{job.model}: llama.cpp cannot load it")
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.batch = llama_cpp.llama_batch_init(N_BATCH, 0, 1)
        self.contexts: dict[tuple[int, int], llama_cpp.llama_context_p] = {}

    def start(self, prompts: list[list[int]], n_each: int) -> None:
        size = len(prompts), n_each
        if size not in self.contexts:
            self.contexts[size] = self._context(*size)
        self.context = self.contexts[size]
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        self.prompts, self.n_computed = prompts, [0] * len(prompts)

    def advance(self, seq: int, n_tokens: int) -> None:
        first, ids = self.n_computed[seq], self.prompts[seq]
        self.n_computed[seq] += n_tokens
        logits_of = [n_tokens - 1] if first + n_tokens == len(ids) else []
        self._decode([(seq, i, ids[i]) for i in range(first, first + n_tokens)], logits_of)

    def generate(self) -> None:
        """Which token comes next makes no difference to the time: the prompt again."""
        rows = [(seq, n, self.prompts[seq][n % len(self.prompts[seq])]) for seq, n in enumerate(self.n_computed)]
        self.n_computed = [n + 1 for n in self.n_computed]
        self._decode(rows, range(len(rows)))

    def _context(self, n_seqs: int, n_each: int) -> llama_cpp.llama_context_p:
        wishes = llama_cpp.llama_context_default_params()
        wishes.n_batch = wishes.n_ubatch = N_BATCH
        wishes.n_seq_max = n_seqs
        wishes.n_ctx = n_seqs * -(-n_each // 256) * 256  # its sequences have a share each, in units of 256
        wishes.n_threads = wishes.n_threads_batch = self.job.threads
        wishes.type_k, wishes.type_v = KV_TYPES[self.job.k_type], KV_TYPES[self.job.v_type]
        context: llama_cpp.llama_context_p | None = llama_cpp.llama_init_from_model(self.model, wishes)
        if not context:
            raise RuntimeError(f"llama.cpp makes no context of {n_seqs} times {n_each} tokens")
        return context

    def _decode(self, rows: Sequence[tuple[int, int, int]], logits_of: Sequence[int]) -> None:
        """(sequence, position, token) rows in one batch."""
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


if __name__ == "__main__":
    worker_main(Peer)

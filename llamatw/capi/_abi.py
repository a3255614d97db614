"""clib/include/llamatw.h in ctypes: the structs and one line per function.  tests/test_abi.py compares the two."""

from __future__ import annotations

import struct
from ctypes import (
    POINTER,
    Array,
    Structure,
    _Pointer,
    c_char,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any

ABI_VERSION = 1

TOK_ADD_SPECIAL, TOK_PARSE_SPECIAL = 1, 2
DETOK_SPECIAL = 1
KV_TYPES = {"f32": 0, "f16": 1, "bf16": 2, "i16": 3, "q8_0": 4}  # LT_KV_*
OPEN_MLOCK = 1
NUMAS = {"none": 0, "distribute": 1, "isolate": 2, "numactl": 3}  # LT_NUMA_*
LOADS = {"mmap": 0, "read": 1, "direct": 2}  # LT_LOAD_*
SAMPLE_IGNORE_EOS, SAMPLE_NO_CACHE, SAMPLE_SPARE_NEWLINE, SAMPLE_RESUME, SAMPLE_POST_PROBS = 1, 2, 4, 8, 16
SAMPLE_SCORE, SAMPLE_NO_LOGPROB = 32, 64
MAX_CHAIN, MAX_BIASES, MAX_BREAKER_IDS, MAX_PENALTY_PROMPT, MAX_PROBS = 16, 1024, 1 << 16, 1 << 16, 100
SAMPLERS = {  # LT_SAMPLER_*
    "penalties": 0,
    "dry": 1,
    "top_n_sigma": 2,
    "top_k": 3,
    "tfs_z": 4,
    "typical_p": 5,
    "top_p": 6,
    "min_p": 7,
    "xtc": 8,
    "temperature": 9,
    "infill": 10,
    "mirostat_1": 11,
    "mirostat_2": 12,
    "adaptive_p": 13,
}
GRAMMAR_AFTER_TRIGGER = 1
GSTATE_COMPLETE, GSTATE_WAITING = 1, 2


class Meta(Structure):
    _fields_ = [
        ("key", c_void_p),  # not NUL-terminated: read with key_len
        ("str", c_void_p),
        ("key_len", c_uint64),
        ("str_len", c_uint64),
        ("n", c_uint64),
        ("i", c_int64),
        ("f", c_double),
        ("type", c_int32),
        ("item_type", c_int32),
    ]


class Tensor(Structure):
    _fields_ = [
        ("name", c_void_p),
        ("name_len", c_uint64),
        ("ne", c_uint64 * 4),
        ("offset", c_uint64),
        ("n_bytes", c_uint64),
        ("type", c_int32),
        ("n_dims", c_int32),
        ("file", c_int32),
        ("reserved", c_int32),
    ]


class Vocab(Structure):
    _fields_ = [
        (name, c_int32)
        for name in (
            *("n_tokens", "bos", "eos", "eot", "unk", "pad"),
            *("add_bos", "add_eos", "add_space_prefix", "kind", "sep", "add_sep"),
        )
    ]


class GrammarOpts(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("flags", c_uint32),
        ("root", c_char_p),
        ("words", POINTER(c_char_p)),
        ("tokens", POINTER(c_int32)),
        ("n_words", c_uint32),
        ("n_tokens", c_uint32),
    ]


class Override(Structure):
    _fields_ = [
        ("key", c_char_p),
        ("str", c_char_p),
        ("i", c_int64),
        ("f", c_double),
        ("type", c_int32),
        ("reserved", c_int32),
    ]


class Opts(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("n_ctx", c_int32),
        ("n_seqs", c_int32),
        ("n_batch", c_int32),
        ("n_threads", c_int32),
        ("n_threads_batch", c_int32),
        ("k_type", c_int32),
        ("v_type", c_int32),
        ("flags", c_uint32),
        ("load", c_int32),
        ("numa", c_int32),
        ("group_n", c_int32),
        ("group_w", c_int32),
        ("cache_bytes", c_int64),
        ("overrides", POINTER(Override)),
        ("n_overrides", c_int32),
        ("n_full", c_int32),
        ("progress", POINTER(c_int32)),
    ]


class Info(Structure):
    _fields_ = [
        *[(name, c_int64) for name in ("n_params", "weight_bytes", "kv_bytes", "scratch_bytes")],
        *[(name, c_int64) for name in ("page_bytes", "state_bytes")],
        *[(name, c_int32) for name in ("n_ctx", "n_ctx_train", "n_vocab", "n_embd", "n_layer", "n_head", "n_head_kv")],
        *[(name, c_int32) for name in ("n_seqs", "n_batch", "n_pages", "page_tokens")],
        *[(name, c_int32) for name in ("n_threads", "n_threads_batch", "n_nodes", "n_tensors_unused")],
        ("can_shift", c_int32),
        ("arch", c_char * 32),
    ]


class Stats(Structure):
    _fields_ = [
        *[(name, c_int64) for name in ("n_steps", "tokens_computed", "tokens_cached", "step_ns", "model_ns")],
        *[(name, c_int32) for name in ("pages_free", "pages_cached", "pages_used", "seqs_open")],
    ]


class Bias(Structure):
    _fields_ = [("id", c_int32), ("bias", c_float)]


class Sampling(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("flags", c_uint32),
        ("seed", c_uint64),
        *[(name, c_float) for name in ("temperature", "dynatemp_range", "dynatemp_exponent", "top_p", "min_p")],
        *[(name, c_float) for name in ("tfs_z", "typical_p", "top_n_sigma", "xtc_probability", "xtc_threshold")],
        *[(name, c_float) for name in ("repeat_penalty", "presence_penalty", "frequency_penalty")],
        *[(name, c_float) for name in ("dry_multiplier", "dry_base", "mirostat_tau", "mirostat_eta")],
        *[(name, c_float) for name in ("adaptive_target", "adaptive_decay")],
        ("state", c_float * 2),
        *[(name, c_int32) for name in ("top_k", "min_keep", "repeat_last_n", "dry_allowed_length")],
        *[(name, c_int32) for name in ("dry_penalty_last_n", "n_prompt", "n_probs")],
        *[(name, c_int32) for name in ("n_chain", "n_bias", "n_breakers", "n_penalty_prompt")],
        ("bias", POINTER(Bias)),
        *[(name, c_void_p) for name in ("breakers", "breaker_ends", "penalty_prompt")],  # int32
        ("chain", c_uint8 * MAX_CHAIN),
    ]


class Row(Structure):
    _fields_ = [
        ("seq", c_int32),
        ("advance", c_int32),
        ("n_draft", c_int32),
        ("reserved", c_int32),
        ("draft", c_void_p),
        ("mask", c_void_p),
        ("logits", c_void_p),
    ]


class Choice(Structure):
    _fields_ = [("token", c_int32), ("value", c_float)]


class Out(Structure):
    _fields_ = [
        ("seq", c_int32),
        ("flags", c_int32),
        ("token", c_int32),
        ("logprob", c_float),
        ("text_off", c_uint32),
        ("text_len", c_uint32),
        ("n_drafted", c_int32),
        ("state", c_float * 2),
        ("prob", c_float),
        ("n_top", c_int32),
        ("n_chances", c_int32),
        ("top", c_void_p),  # Choice[n_top]
        ("chances", c_void_p),
        ("scores", c_void_p),  # Choice[n_scores]
        ("n_scores", c_int32),
        ("reserved", c_int32),
    ]


class Result(Structure):
    _fields_ = [("out", POINTER(Out)), ("text", c_void_p), ("n_out", c_int32), ("n_tokens", c_int32)]


STRUCTS: dict[str, type[Structure]] = {
    "lt_meta": Meta,
    "lt_tensor_info": Tensor,
    "lt_vocab_info": Vocab,
    "lt_grammar_opts": GrammarOpts,
    "lt_override": Override,
    "lt_engine_opts": Opts,
    "lt_engine_info": Info,
    "lt_engine_stats": Stats,
    "lt_bias": Bias,
    "lt_sampling": Sampling,
    "lt_row": Row,
    "lt_choice": Choice,
    "lt_out": Out,
    "lt_result": Result,
}


def layout(structure: type[Structure]) -> struct.Struct:
    """The same bytes for `struct`, which reads or writes all fields in one call, nested arrays as so many values."""
    return struct.Struct("".join(_code(field[1]) for field in structure._fields_))


def _code(kind: Any) -> str:
    if issubclass(kind, Array):
        return f"{kind._length_}{kind._type_._type_}"
    return "P" if issubclass(kind, _Pointer) else str(kind._type_)


_handle, _handle_out = c_void_p, POINTER(c_void_p)

FUNCTIONS = {
    # name: (restype, *argtypes)
    "lt_abi_version": (c_int32,),
    "lt_last_error": (c_char_p,),
    "lt_sizeof": (c_int64, c_char_p),
    "lt_cpu_name": (c_char_p,),
    "lt_thread_count": (c_int32,),
    "lt_gguf_open": (c_int, _handle_out, c_char_p),
    "lt_gguf_close": (None, _handle),
    "lt_gguf_version": (c_int32, _handle),
    "lt_gguf_n_meta": (c_int64, _handle),
    "lt_gguf_meta": (c_int, _handle, c_int64, POINTER(Meta)),
    "lt_gguf_meta_item": (c_int, _handle, c_int64, c_uint64, POINTER(Meta)),
    "lt_gguf_find": (c_int64, _handle, c_char_p),
    "lt_gguf_n_tensors": (c_int64, _handle),
    "lt_gguf_tensor": (c_int, _handle, c_int64, POINTER(Tensor)),
    "lt_type_name": (c_char_p, c_int32),
    "lt_dequantize": (c_int, c_int32, c_char_p, c_uint64, c_void_p, c_uint64),
    "lt_vocab_open": (c_int, _handle_out, _handle),
    "lt_vocab_close": (None, _handle),
    "lt_vocab_describe": (c_int, _handle, POINTER(Vocab)),
    "lt_tokenize": (c_int, _handle, c_char_p, c_size_t, c_uint32, c_void_p, c_size_t, POINTER(c_size_t)),
    "lt_detokenize": (c_int, _handle, c_void_p, c_size_t, c_uint32, c_void_p, c_size_t, POINTER(c_size_t)),
    "lt_vocab_pieces": (c_int, _handle, c_void_p, c_size_t, POINTER(c_uint32), POINTER(c_size_t)),
    "lt_token_is_eog": (c_int32, _handle, c_int32),
    "lt_grammar_open": (c_int, _handle_out, _handle, c_char_p, c_size_t, POINTER(GrammarOpts)),
    "lt_grammar_close": (None, _handle),
    "lt_gstate_open": (c_int, _handle_out, _handle),
    "lt_gstate_fork": (c_int, _handle_out, _handle),
    "lt_gstate_copy": (c_int, _handle, _handle),
    "lt_gstate_close": (None, _handle),
    "lt_gstate_advance": (c_int, _handle, c_int32),
    "lt_gstate_mask": (c_int, _handle, c_void_p, c_int32, POINTER(c_int32)),
    "lt_gstate_flags": (c_int32, _handle),
    "lt_gstate_forced": (c_int, _handle, c_char_p, c_size_t, POINTER(c_size_t)),
    "lt_engine_opts_init": (None, POINTER(Opts)),
    "lt_sampling_init": (None, POINTER(Sampling)),
    "lt_sampling_is_stateless": (c_int32, POINTER(Sampling)),
    "lt_engine_open": (c_int, _handle_out, c_char_p, POINTER(Opts)),
    "lt_engine_close": (None, _handle),
    "lt_engine_vocab": (c_void_p, _handle),
    "lt_engine_describe": (c_int, _handle, POINTER(Info)),
    "lt_engine_read_stats": (c_int, _handle, POINTER(Stats)),
    "lt_seq_open": (
        c_int,
        *(_handle, c_void_p, c_int32, c_uint64, POINTER(Sampling)),
        *(POINTER(c_int32), POINTER(c_int32)),
    ),
    "lt_seq_adopt": (c_int, _handle, c_int32, POINTER(c_int32)),
    "lt_step": (c_int, _handle, POINTER(Row), c_int32, POINTER(Result)),
    "lt_seq_close": (c_int, _handle, c_int32, c_int32),
    "lt_seq_room": (c_int, _handle, c_int32, POINTER(c_int32)),
    "lt_seq_shift": (c_int, _handle, c_int32, c_int32, c_int32),
    "lt_seq_read_page": (c_int, _handle, c_int32, c_int32, c_void_p, c_size_t, POINTER(c_size_t)),
    "lt_seq_write_page": (c_int, _handle, c_int32, c_int32, c_void_p, c_size_t),
    "lt_cache_forget": (c_int, _handle, c_void_p, c_int32, c_int32, c_uint64),
}

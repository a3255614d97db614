"""What the flags came to: frozen, passed down, never global."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

MAX_DRAFT = 7  # with the row that they belong to eight columns, which pass through the weights at once
KVType = Literal["f32", "f16", "bf16", "i16", "q8_0"]
KV_TYPES: tuple[KVType, ...] = get_args(KVType)
Load = Literal["mmap", "read", "direct"]
Numa = Literal["none", "distribute", "isolate", "numactl"]
NUMA_WISHES: tuple[Numa, ...] = get_args(Numa)
KV_TYPE_DEFAULT: KVType = "i16"


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine is opened with.  Counts are tokens unless said."""

    model_path: str  # a file, or the name of a known model; "": the default model
    n_ctx: int | None = None  # None: min(model's training context, 8192); 0: the model's
    n_seqs: int = 4  # lanes of concurrent generation ("slots")
    n_batch: int = 512  # tokens in one step at the most
    n_threads: int = 0  # 0: one per core that the process may use, within its cgroup's quota
    n_threads_batch: int = 0  # 0: as n_threads
    k_type: KVType = KV_TYPE_DEFAULT  # elements of the KV cache: of its keys
    v_type: KVType = KV_TYPE_DEFAULT  # and of its values
    cache_mib: int | None = 0  # of KV pages beside those of one context, for prefixes; None: by the machine's memory
    load: Load = "mmap"  # how tensors come out of the file
    group_n: int = 1  # self-extend: positions of full windows are divided by it; 1: off
    group_w: int = 0  # tokens in such a window, a multiple of group_n; 0 when off
    numa: Numa = "none"  # how threads and memory go over the nodes of a machine that has several
    mlock: bool = False  # weights, KV cache and scratch locked into memory
    step_target_ms: float = 50.0  # a step that carries live streams aims to stay below this
    context_shift: bool = False  # full contexts lose tokens and go on
    max_queue: int = 64  # waiting requests beyond the lanes
    max_queue_tokens: int | None = None  # of all prompts that run or wait; None: 16 times the context
    max_queue_bytes: int = 256 << 20  # of all bodies of requests that run or wait
    n_draft: int = MAX_DRAFT  # guesses in a step of a sequence; 0: none


class SystemPrompt(msgspec.Struct, frozen=True):
    """Stands in front of every prompt.  The names are for clients, which ask /props for them."""

    prompt: str = ""
    anti_prompt: str = ""
    assistant_name: str = ""


class WebSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the HTTP side is built with."""

    host: str = "127.0.0.1"
    port: int = 8080
    path: str | None = None  # directory served instead of the built-in page
    api_keys: tuple[str, ...] = ()
    alias: str | None = None  # None: the model's path
    n_predict: int = -1  # -n: limit when the request leaves it at -1
    timeout_s: int = 600
    system_prompt: SystemPrompt = SystemPrompt()
    props: bool = False  # whether POST /props changes them
    spm_infill: bool = False  # what stands behind the hole comes before what stands in front of it
    prefills: bool = True  # a message of the assistant at the end is gone on with
    metrics: bool = False  # whether /metrics is served
    slot_save_path: str | None = None  # directory of saved slots; None: they cannot be saved
    verbose: bool = False


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    engine: EngineSettings
    web: WebSettings

"""What the flags came to: frozen, passed down, never global."""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec

MAX_DRAFT = 7  # with the row that they belong to eight columns, which pass through the weights at once
KVType = Literal["f32", "f16", "bf16", "i16", "q8_0"]
KV_TYPES: tuple[KVType, ...] = get_args(KVType)
Load = Literal["mmap", "read", "direct"]
Numa = Literal["none", "distribute", "isolate", "numactl"]
NUMA_WISHES: tuple[Numa, ...] = get_args(Numa)
KV_TYPE_DEFAULT: KVType = "i16"
LOAD_MODES: dict[str, tuple[Load, bool]] = {  # name -> way of loading, whether locked
    "none": ("read", False),
    "mmap": ("mmap", False),
    "mlock": ("read", True),
    "mmap+mlock": ("mmap", True),
    "dio": ("direct", False),
}


class Override(msgspec.Struct, frozen=True):
    """A value that stands for the file's own, or for one that the file lacks."""

    key: str
    value: int | float | bool | str


class Remote(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is fetched over HTTP: out of a hub's repository, or from a URL."""

    repo: str = ""  # USER/NAME; "": there is a URL
    tag: str = ""  # which of its files: what stands in the name, such as Q8_0; "": a usual one
    file: str = ""  # or its name
    url: str = ""
    token: str | None = None  # for the hub and nobody else; None: HF_TOKEN, or the file of the hub's own tools


class Positions(msgspec.Struct, frozen=True, kw_only=True):
    """How positions are turned into rotations; None: as the file says."""

    scaling: str | None = None  # none, linear, yarn
    factor: float | None = None  # positions are divided by it
    base: float | None = None
    original_ctx: int | None = None
    ext_factor: float | None = None
    attn_factor: float | None = None
    beta_slow: float | None = None
    beta_fast: float | None = None


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine is opened with.  Counts are tokens unless said."""

    model_path: str  # a file, or the name of a known model; "": the default model
    remote: Remote | None = None  # where the model is fetched, instead
    offline: bool = False  # only what has been fetched already
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
    unified: bool = True  # one sequence may have all of n_ctx; else n_ctx / n_seqs
    continuous: bool = True  # requests join those that run; else they wait until all lanes are free
    overrides: tuple[Override, ...] = ()
    positions: Positions = Positions()
    max_queue: int = 64  # waiting requests beyond the lanes
    max_queue_tokens: int | None = None  # of all prompts that run or wait; None: 16 times the context
    max_queue_bytes: int = 256 << 20  # of all bodies of requests that run or wait
    n_draft: int = MAX_DRAFT  # guesses in a step of a sequence; 0: none
    n_guests: int = 0  # sequences among n_seqs that are no request's

    @property
    def n_lanes(self) -> int:
        return self.n_seqs - self.n_guests


class SystemPrompt(msgspec.Struct, frozen=True):
    """Stands in front of every prompt.  The names are for clients, which ask /props for them."""

    prompt: str = ""
    anti_prompt: str = ""
    assistant_name: str = ""


class Cors(msgspec.Struct, frozen=True, kw_only=True):
    """What browsers let pages of other origins do."""

    origins: tuple[str, ...] = ("*",)  # "*": all; "localhost": pages of this machine
    methods: tuple[str, ...] = ("GET", "POST", "DELETE", "OPTIONS")
    headers: tuple[str, ...] = ("*",)
    credentials: bool = True


class WebSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the HTTP side is built with."""

    hosts: tuple[str, ...] = ("127.0.0.1",)
    port: int = 8080
    reuse_port: bool = False
    ssl_key_file: str | None = None  # PEM; with ssl_cert_file: TLS
    ssl_cert_file: str | None = None
    api_prefix: str = ""  # what all paths begin with; "" or "/..." without a slash at its end
    path: str | None = None  # directory served instead of the built-in page
    ui: bool = True  # whether there is a page
    api_keys: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()  # names beside localhost by which a loopback address may be asked
    cors: Cors = Cors()
    aliases: tuple[str, ...] = ()  # in the alphabet's order; none: the model's path
    tags: tuple[str, ...] = ()
    n_predict: int = -1  # -n: tokens that a request may generate; -1: as it says; -2: as it says, else until full
    defaults: dict[str, Any] = {}  # field of a request -> what it is when the request has none
    timeout_s: int = 600
    chat_template: str | None = None  # Jinja, or the name of a built-in one; None: the model's
    jinja: bool = True  # False: of the model's own template only the marks are looked at
    system_prompt: SystemPrompt = SystemPrompt()
    props: bool = False  # whether POST /props changes them
    spm_infill: bool = False  # what stands behind the hole comes before what stands in front of it
    prefills: bool = True  # a message of the assistant at the end is gone on with
    metrics: bool = False  # whether /metrics is served
    slots: bool = True  # whether /slots is served
    slot_save_path: str | None = None  # directory of saved slots; None: they cannot be saved
    verbose: bool = False
    log_file: str | None = None  # one JSON object for each request is appended to it
    log_requests: bool = True  # whether the log has a line for each


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    engine: EngineSettings
    web: WebSettings

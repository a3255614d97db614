"""The flags that are served, in the groups and order that help shows them in."""

from __future__ import annotations

from llamatw.flags.defaults import SAMPLING
from llamatw.flags.kinds import (
    MAX_INT,
    Flag,
    contents,
    directory,
    key_file,
    keys,
    one_of,
    or_else,
    overrides,
    readable,
    real,
    whole,
    words,
)
from llamatw.settings import KV_TYPE_DEFAULT, KV_TYPES, LOAD_MODES, MAX_DRAFT, NUMA_WISHES

_KV_TYPES_HELP = (
    "f32; f16; bf16; i16, 16-bit integers with one scale per 64 values of a head; q8_0, 8-bit integers, "
    "a scale per 32 values"
)
_ROPE = real(0, 1e12)


def _arg(name: str) -> str:
    return f"LLAMA_ARG_{name}"


_ABOUT = [
    Flag(name="help", also=("-h", "--usage"), help="show this"),
    Flag(name="version", help="show the version"),
]

_MODEL = [
    Flag(
        name="model",
        also=("-m",),
        value="FILE",
        env=_arg("MODEL"),
        help="GGUF file, or the name of a known model (default: SmolLM2 135M, fetched once)",
    ),
    Flag(
        name="load-mode",
        also=("-lm",),
        value="HOW",
        kind=one_of("auto", *LOAD_MODES),
        default="auto",
        env=_arg("LOAD_MODE"),
        help=f"auto (mmap), {', '.join(LOAD_MODES)}: how the file is read, what is locked",
    ),
    Flag(
        name="mlock",
        env=_arg("MLOCK"),
        default=False,
        help="lock weights, KV cache and scratch into memory; not allowed to: the model is not served",
    ),
    Flag(
        name="mmap",
        off=("--no-mmap",),
        env=_arg("MMAP"),
        default=True,
        help="map the file; --no-mmap: read it piece by piece instead",
    ),
    Flag(
        name="numa",
        value="WISH",
        kind=one_of(*NUMA_WISHES),
        bare="distribute",
        default="none",
        env=_arg("NUMA"),
        help="on several NUMA nodes: distribute threads and memory, isolate on one, or obey numactl",
    ),
    Flag(
        name="override-kv",
        value="KEY=TYPE:VALUE",
        kind=overrides,
        repeats=True,
        default=(),
        env=_arg("OVERRIDE_KV"),
        help="a value of the file's metadata, replaced: int, float, bool or str; several by commas or by repeating",
    ),
]

_CONTEXT = [
    Flag(
        name="ctx-size",
        also=("-c", "--ctx_size"),
        value="N",
        kind=whole(0, MAX_INT),
        env=_arg("CTX_SIZE"),
        help="tokens of context, shared by all slots; 0: the model's (default: that, at most 8192)",
    ),
    Flag(
        name="parallel",
        also=("-np",),
        value="N",
        kind=or_else("-1", 4, whole(1, 256)),
        default=4,
        env=_arg("N_PARALLEL"),
        help="slots: requests generating at once; -1: 4",
    ),
    Flag(
        name="kv-unified",
        also=("-kvu",),
        off=("--no-kv-unified",),
        default=True,
        env=_arg("KV_UNIFIED"),
        help="one request may use all of the context; --no-kv-unified divides it by --parallel",
    ),
    Flag(
        name="batch-size",
        also=("-b",),
        value="N",
        kind=whole(1, 8192),
        default=512,
        env=_arg("BATCH"),
        help="tokens in one step at the most",
    ),
    Flag(
        name="ubatch-size",
        also=("-ub",),
        value="N",
        kind=whole(1, 8192),
        env=_arg("UBATCH"),
        help="the same; the smaller of the two holds",
    ),
    Flag(
        name="cache-type-k",
        also=("-ctk",),
        value="TYPE",
        kind=one_of(*KV_TYPES),
        default=KV_TYPE_DEFAULT,
        env=_arg("CACHE_TYPE_K"),
        help=f"type of cached keys: {_KV_TYPES_HELP}",
    ),
    Flag(
        name="cache-type-v",
        also=("-ctv",),
        value="TYPE",
        kind=one_of(*KV_TYPES),
        default=KV_TYPE_DEFAULT,
        env=_arg("CACHE_TYPE_V"),
        help="type of cached values, of the same",
    ),
    Flag(
        name="cache-ram",
        also=("-cram",),
        value="MIB",
        kind=whole(0, 1 << 24),
        env=_arg("CACHE_RAM"),
        help="MiB of KV pages beside one context's, for prefixes (default: 1/16 of memory, at most 2048)",
    ),
    Flag(
        name="context-shift",
        off=("--no-context-shift",),
        default=False,
        env=_arg("CONTEXT_SHIFT"),
        help="full contexts lose their oldest tokens and go on, instead of ending",
    ),
    Flag(
        name="grp-attn-n",
        also=("-gan",),
        value="N",
        kind=whole(1, MAX_INT),
        default=1,
        env=_arg("GRP_ATTN_N"),
        help="self-extend: positions of full windows are divided by this; 1: off",
    ),
    Flag(
        name="grp-attn-w",
        also=("-gaw",),
        value="N",
        kind=whole(1, MAX_INT),
        default=512,
        env=_arg("GRP_ATTN_W"),
        help="self-extend: tokens in a window, a multiple of --grp-attn-n",
    ),
    Flag(
        name="flash-attn",
        also=("-fa",),
        value="ON",
        kind=one_of("on", "auto", "1"),
        bare="on",
        default="on",
        env=_arg("FLASH_ATTN"),
        help="on or auto: attention never writes its scores to memory, and there is no other kind",
    ),
    Flag(
        name="cont-batching",
        also=("-cb",),
        off=("-nocb", "--no-cont-batching"),
        default=True,
        env=_arg("CONT_BATCHING"),
        help="new requests join those that run; -nocb: they wait until all slots are free, then start together",
    ),
]

_POSITIONS = [
    Flag(
        name="rope-scaling",
        value="KIND",
        kind=one_of("none", "linear", "yarn"),
        env=_arg("ROPE_SCALING_TYPE"),
        help="none, linear, yarn: how positions beyond the training context are made (default: the model's)",
    ),
    Flag(
        name="rope-scale",
        value="X",
        kind=real(1e-3, 1e6),
        env=_arg("ROPE_SCALE"),
        help="positions are divided by this",
    ),
    Flag(
        name="rope-freq-scale",
        value="X",
        kind=real(0, 1e3),
        env=_arg("ROPE_FREQ_SCALE"),
        help="positions are multiplied by this; 0: the model's",
    ),
    Flag(
        name="rope-freq-base",
        value="X",
        kind=_ROPE,
        env=_arg("ROPE_FREQ_BASE"),
        help="base of the rotary frequencies; 0: the model's",
    ),
    Flag(
        name="yarn-orig-ctx",
        value="N",
        kind=whole(0, MAX_INT),
        env=_arg("YARN_ORIG_CTX"),
        help="YaRN: the context that the model was trained for; 0: the model's",
    ),
    Flag(
        name="yarn-ext-factor",
        value="X",
        kind=or_else("-1", None, real(0, 1)),
        env=_arg("YARN_EXT_FACTOR"),
        help="YaRN: share of fast pairs that keep their frequency; -1: the model's, or 1",
    ),
    Flag(
        name="yarn-attn-factor",
        value="X",
        kind=or_else("-1", None, real(1e-3, 1e3)),
        env=_arg("YARN_ATTN_FACTOR"),
        help="YaRN: attention is multiplied by this; -1: the model's, or 1",
    ),
    Flag(
        name="yarn-beta-slow",
        value="X",
        kind=or_else("-1", None, real(1e-3, 1e4)),
        env=_arg("YARN_BETA_SLOW"),
        help="YaRN: turns in the original context below which a pair is slow; -1: the model's, or 1",
    ),
    Flag(
        name="yarn-beta-fast",
        value="X",
        kind=or_else("-1", None, real(1e-3, 1e4)),
        env=_arg("YARN_BETA_FAST"),
        help="YaRN: turns above which a pair is fast; -1: the model's, or 32",
    ),
]

_THREADS = [
    Flag(
        name="threads",
        also=("-t",),
        value="N",
        kind=or_else("-1", 0, whole(1, 256)),
        default=0,
        env=_arg("THREADS"),
        help="threads for generating (default, or -1: one per core that it may use)",
    ),
    Flag(
        name="threads-batch",
        also=("-tb",),
        value="N",
        kind=or_else("-1", 0, whole(1, 256)),
        default=0,
        env=_arg("THREADS_BATCH"),
        help="threads for reading prompts (default, or -1: as --threads)",
    ),
    Flag(
        name="step-target-ms",
        value="MS",
        kind=whole(1, 60_000),
        default=50,
        help="milliseconds that a step with running streams should take at most",
    ),
    Flag(
        name="max-queue",
        value="N",
        kind=whole(0, 1 << 20),
        default=64,
        help="requests that may wait beyond the slots; more are answered 429",
    ),
    Flag(
        name="max-queue-tokens",
        value="N",
        kind=whole(1, MAX_INT),
        help="tokens of all prompts that run or wait (default: 16 times the context)",
    ),
    Flag(
        name="spec-type",
        value="KIND",
        kind=one_of("none", "ngram-simple"),
        default="ngram-simple",
        env=_arg("SPEC_TYPE"),
        help="ngram-simple: guess tokens from what followed the same ones before; none: do not",
    ),
    Flag(
        name="spec-draft-n-max",
        value="N",
        kind=whole(0, MAX_DRAFT),
        default=MAX_DRAFT,
        env=_arg("SPEC_DRAFT_N_MAX"),
        help="tokens that a slot guesses in a step at the most",
    ),
]

_LISTENING = [
    Flag(
        name="host",
        value="WHERE",
        kind=words,
        repeats=True,
        default=("127.0.0.1",),
        env=_arg("HOST"),
        help="address, unix:PATH, PATH.sock, or systemd:NAME or systemd:0 for a socket from systemd; "
        "several by commas or by repeating",
    ),
    Flag(
        name="port",
        value="N",
        kind=whole(0, 65535),
        default=8080,
        env=_arg("PORT"),
        help="port to listen on; 0: any free one",
    ),
    Flag(name="reuse-port", default=False, env=_arg("REUSE_PORT"), help="let other processes listen on the same port"),
    Flag(
        name="ssl-key-file", value="FILE", kind=readable, env=_arg("SSL_KEY_FILE"), help="private key, PEM: speak TLS"
    ),
    Flag(
        name="ssl-cert-file",
        value="FILE",
        kind=readable,
        env=_arg("SSL_CERT_FILE"),
        help="certificate and those that it hangs on, PEM",
    ),
    Flag(
        name="timeout",
        also=("-to",),
        value="S",
        kind=whole(1, 86_400),
        default=600,
        env=_arg("TIMEOUT"),
        help="seconds that a request may be silent while it comes, or its reader while it is answered",
    ),
]

_ACCESS = [
    Flag(
        name="api-key",
        value="KEY",
        kind=keys,
        repeats=True,
        default=(),
        env="LLAMA_API_KEY",
        help="key that clients must send; several by commas or by repeating",
    ),
    Flag(
        name="api-key-file",
        value="FILE",
        kind=key_file,
        repeats=True,
        default=(),
        env=_arg("API_KEY_FILE"),
        help="file with one API key a line; lines that start with # are left out",
    ),
    Flag(
        name="allowed-hosts",
        value="NAMES",
        kind=words,
        repeats=True,
        default=(),
        help="names by which a server on a loopback address may be asked, beside localhost: of a proxy in front of it",
    ),
    Flag(
        name="cors-origins",
        value="ORIGINS",
        kind=words,
        default=("*",),
        env=_arg("CORS_ORIGINS"),
        help="pages that may use the server: *, localhost, or origins such as https://example.org, by commas",
    ),
    Flag(
        name="cors-methods",
        value="METHODS",
        kind=words,
        default=("GET", "POST", "DELETE", "OPTIONS"),
        env=_arg("CORS_METHODS"),
        help="what such pages may do",
    ),
    Flag(
        name="cors-headers",
        value="HEADERS",
        kind=words,
        default=("*",),
        env=_arg("CORS_HEADERS"),
        help="headers that such pages may send; *: any",
    ),
    Flag(
        name="cors-credentials",
        off=("--no-cors-credentials",),
        default=True,
        env=_arg("CORS_CREDENTIALS"),
        help="such pages may send cookies and keys that the browser keeps",
    ),
]

_SERVER = [
    Flag(
        name="alias",
        also=("-a",),
        value="NAMES",
        kind=words,
        env=_arg("ALIAS"),
        help="names of the model, by commas; clients see the first in the alphabet (default: the file's path)",
    ),
    Flag(
        name="tags",
        value="TAGS",
        kind=words,
        default=(),
        env=_arg("TAGS"),
        help="words about the model, for /v1/models",
    ),
    Flag(name="api-prefix", value="PATH", default="", env=_arg("API_PREFIX"), help="what all paths begin with"),
    Flag(
        name="path",
        value="DIR",
        kind=directory,
        env=_arg("STATIC_PATH"),
        help="directory of static files, instead of the built-in page",
    ),
    Flag(
        name="ui",
        also=("--webui",),
        off=("--no-ui", "--no-webui"),
        default=True,
        env=_arg("UI"),
        help="serve the page",
    ),
    Flag(
        name="slots",
        off=("--no-slots",),
        default=True,
        env=_arg("ENDPOINT_SLOTS"),
        help="serve /slots, which tells what runs",
    ),
    Flag(
        name="props",
        default=False,
        env=_arg("ENDPOINT_PROPS"),
        help="let POST /props change the system prompt and its names",
    ),
    Flag(name="spm-infill", default=False, help="in /infill prompts the suffix comes first, as some models want it"),
    Flag(
        name="metrics",
        default=False,
        env=_arg("ENDPOINT_METRICS"),
        help="serve counters and histograms at /metrics, as Prometheus text",
    ),
    Flag(
        name="slot-save-path",
        value="DIR",
        kind=directory,
        env=_arg("SLOT_SAVE_PATH"),
        help="directory that slots are saved to and restored from (default: they cannot be)",
    ),
    Flag(
        name="system-prompt-file",
        also=("-spf",),
        value="FILE",
        env=_arg("SYSTEM_PROMPT_FILE"),
        help="JSON file with prompt, anti_prompt, assistant_name: stands in front of all prompts",
    ),
]

_CHAT = [
    Flag(
        name="chat-template",
        value="NAME|FILE",
        env=_arg("CHAT_TEMPLATE"),
        help="chat template: a built-in one, a file of Jinja, or Jinja itself (default: the model's)",
    ),
    Flag(
        name="chat-template-file",
        value="FILE",
        kind=contents,
        env=_arg("CHAT_TEMPLATE_FILE"),
        help="the same from a file",
    ),
    Flag(
        name="jinja",
        off=("--no-jinja",),
        default=True,
        env=_arg("JINJA"),
        help="run the model's own template; --no-jinja: use the built-in one that has its marks, or none",
    ),
    Flag(
        name="prefill-assistant",
        off=("--no-prefill-assistant",),
        default=True,
        env=_arg("PREFILL_ASSISTANT"),
        help="go on with a chat's last message where it is the assistant's, instead of taking it for a whole turn",
    ),
]

_LOGS = [
    Flag(name="verbose", also=("-v", "--log-verbose"), default=False, help="log request bodies"),
    Flag(
        name="log-file",
        value="FILE",
        env=_arg("LOG_FILE"),
        help="append one JSON object for each request: id, route, status, sizes, times, tokens; no text of prompts",
    ),
    Flag(name="log-disable", default=False, help="no line for each request on the log"),
]

GROUPS: list[tuple[str, list[Flag]]] = [
    ("About", _ABOUT),
    ("Model", _MODEL),
    ("Context and cache", _CONTEXT),
    ("Positions", _POSITIONS),
    ("Threads and queue", _THREADS),
    ("Listening", _LISTENING),
    ("Who may ask", _ACCESS),
    ("What is served", _SERVER),
    ("Chat", _CHAT),
    ("Defaults of requests", SAMPLING),
    ("Logs", _LOGS),
]

FLAGS: list[Flag] = [flag for _, flags in GROUPS for flag in flags]

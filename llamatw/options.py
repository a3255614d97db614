"""The command line of `twistd llama`: flags, their types and bounds, and the Settings that they come to.

The reference server has short flags of several letters (-np, -tb), which getopt would read as bundles; exact spellings
are turned into long ones first.  A mistake is one line on standard error and exit status 1.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
from twisted.python import usage

from llamatw import __version__, models
from llamatw.errors import UsageMistake
from llamatw.settings import (
    KV_TYPE_DEFAULT,
    KV_TYPES,
    MAX_DRAFT,
    NUMA_WISHES,
    EngineSettings,
    KVType,
    Load,
    Numa,
    Settings,
    SystemPrompt,
    WebSettings,
)

# Spellings that getopt cannot read, and second spellings of long flags.
_SPELLINGS = {
    "-h": "--help",
    "-np": "--parallel",
    "-tb": "--threads-batch",
    "-to": "--timeout",
    "-spf": "--system-prompt-file",
    "-cram": "--cache-ram",
    "-gan": "--grp-attn-n",
    "-gaw": "--grp-attn-w",
    "-lm": "--load-mode",
    "-ctk": "--cache-type-k",
    "-ctv": "--cache-type-v",
    "-cb": "--cont-batching",
    "--ctx_size": "--ctx-size",
    "--predict": "--n-predict",
}
# Flags of the reference servers that this build does not have.  All are refused: ignoring one would be a lie.
_UNSERVED = frozenset(
    """
    -nocb --no-cont-batching -ngl --gpu-layers --n-gpu-layers -sm --split-mode -ts --tensor-split -mg --main-gpu
    -nommq --no-mul-mat-q --lora --lora-scaled --lora-base --embedding
    --embeddings --rerank --reranking -mm --mmproj --log-disable --chat-template
    --chat-template-file --override-kv --rope-scaling --rope-scale
    --rope-freq-base --rope-freq-scale --yarn-orig-ctx --yarn-ext-factor --yarn-attn-factor --yarn-beta-slow
    --yarn-beta-fast -ub --ubatch-size -fa --flash-attn --no-kv-unified
    -kvu --kv-unified --slots --no-slots --jinja --no-jinja
    --reasoning-format -hf -hfr --hf-repo -hff --hf-file -mu --model-url -md --model-draft --temp --top-k
    --top-p --min-p --repeat-penalty -s --seed --samplers --grammar --grammar-file -j --json-schema
    --ssl-key-file --ssl-cert-file --tags --cors-origins --tools
    """.split()
)
_LOAD_MODES: dict[str, tuple[Load, bool]] = {  # name -> way of loading, whether locked
    "none": ("read", False),
    "mmap": ("mmap", False),
    "mlock": ("read", True),
    "mmap+mlock": ("mmap", True),
    "dio": ("direct", False),
}
_MAX_INT = 2**31 - 1
_KV_TYPES_HELP = (
    "f32; f16; bf16; i16, 16-bit integers with one scale per 64 values of a head; q8_0, 8-bit integers, "
    "a scale per 32 values"
)

_PARAMETERS: list[tuple[str, str | None, Any, str]] = [
    ("model", "m", None, "GGUF file, or the name of a known model (default: SmolLM2 135M, fetched once)"),
    ("ctx-size", "c", None, "tokens of context, shared by all slots; 0: the model's (default: that, at most 8192)"),
    ("parallel", None, 4, "slots: requests generating at once (-np)"),
    ("batch-size", "b", 512, "tokens in one step at the most"),
    ("threads", "t", None, "threads for generating (default: one per core that it may use)"),
    ("threads-batch", None, None, "threads for reading prompts (-tb; default: as --threads)"),
    ("cache-type-k", None, KV_TYPE_DEFAULT, f"type of cached keys: {_KV_TYPES_HELP} (-ctk)"),
    ("cache-type-v", None, KV_TYPE_DEFAULT, "type of cached values, of the same (-ctv)"),
    (
        "cache-ram",
        None,
        None,
        "MiB of KV pages beside one context's, for prefixes (-cram; default: 1/16 of memory, at most 2048)",
    ),
    ("load-mode", None, "auto", f"auto (mmap), {', '.join(_LOAD_MODES)}: how the file is read, what is locked (-lm)"),
    ("numa", None, "none", "on several NUMA nodes: distribute threads and memory, isolate on one, or obey numactl"),
    ("host", None, "127.0.0.1", "address to listen on"),
    ("port", None, 8080, "port to listen on; 0: any free one"),
    ("path", None, None, "directory of static files, instead of the built-in page"),
    ("slot-save-path", None, None, "directory that slots are saved to and restored from (default: they cannot be)"),
    ("alias", "a", None, "model name shown to clients (default: the file's path)"),
    ("n-predict", "n", -1, "limit of tokens when a request states none; -1: none"),
    ("timeout", None, 600, "seconds that a connection may be silent (-to)"),
    ("step-target-ms", None, 50, "milliseconds that a step with running streams should take at most"),
    ("grp-attn-n", None, 1, "self-extend: positions of full windows are divided by this (-gan); 1: off"),
    ("grp-attn-w", None, 512, "self-extend: tokens in a window, a multiple of --grp-attn-n (-gaw)"),
    ("max-queue", None, 64, "requests that may wait beyond the slots; more are answered 429"),
    ("max-queue-tokens", None, None, "tokens of all prompts that run or wait (default: 16 times the context)"),
    (
        "system-prompt-file",
        None,
        None,
        "JSON file with prompt, anti_prompt, assistant_name: stands in front of all prompts (-spf)",
    ),
    (
        "spec-type",
        None,
        "ngram-simple",
        "ngram-simple: guess tokens from what followed the same ones before; none: do not",
    ),
    ("spec-draft-n-max", None, MAX_DRAFT, "tokens that a slot guesses in a step at the most"),
]

_FLAGS_WITH_VALUE = frozenset(
    [f"--{long}" for long, *_ in _PARAMETERS]
    + [f"-{short}" for _, short, *_ in _PARAMETERS if short]
    + ["--api-key", "--api-key-file"]
)


class Options(usage.Options):
    """Flags in; `settings()` out."""

    optParameters = _PARAMETERS
    optFlags = [  # noqa: RUF012 (usage.Options reads it as a class attribute)
        ["verbose", "v", "log request bodies"],
        ["metrics", None, "serve counters and histograms at /metrics, as Prometheus text"],
        ["props", None, "let POST /props change the system prompt and its names"],
        ["spm-infill", None, "in /infill prompts the suffix comes first, as some models want it"],
        ["prefill-assistant", None, "go on with a chat's last message where it is the assistant's: the default"],
        ["no-prefill-assistant", None, "take the assistant's last message for a whole turn"],
        ["mlock", None, "lock weights, KV cache and scratch into memory; not allowed to: the model is not served"],
        ["no-mmap", None, "read the file piece by piece instead of mapping it"],
        ["context-shift", None, "full contexts lose their oldest tokens and go on, instead of ending"],
        ["cont-batching", None, "continuous batching (-cb): always on"],
    ]
    synopsis = "[-m FILE] [options]"
    longdesc = "Serves a GGUF language model over HTTP."

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._keys: list[str] = []

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """A mistake ends the process here: twistd would print all of its own help first."""
        try:
            super().parseOptions(_respelled(list(options or ())))  # type: ignore[no-untyped-call]
        except (usage.UsageError, UsageMistake) as error:
            raise SystemExit(f"twistd llama: {error}") from None

    def parseArgs(self, *args: str) -> None:
        if args:
            raise UsageMistake(f"unexpected argument {args[0]!r}")

    def opt_api_key(self, key: str) -> None:
        """key that clients must send; several by repeating it or with commas"""
        self._add_keys(key.split(","), "--api-key")

    def opt_api_key_file(self, path: str) -> None:
        """file with one API key a line; lines that start with # are left out"""
        try:
            with open(path, encoding="utf-8") as file:
                lines = [line.strip() for line in file]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageMistake(f"--api-key-file {path}: {getattr(error, 'strerror', None) or error}") from None
        self._add_keys([line for line in lines if not line.startswith("#")], "--api-key-file")

    def opt_version(self) -> None:
        """show the version"""
        print(f"llamatw {__version__}")
        raise SystemExit(0)

    def _add_keys(self, keys: Sequence[str], flag: str) -> None:
        found = [key.strip() for key in keys if key.strip()]
        if not found:
            raise UsageMistake(f"{flag} holds no key, which would leave the server open")
        self._keys += found

    def postOptions(self) -> None:
        self.settings = Settings(engine=self._engine(), web=self._web())

    def _engine(self) -> EngineSettings:
        load, mlock = self._load()
        return EngineSettings(
            model_path=_existing_model(self["model"]),
            n_ctx=self._whole("ctx-size", 0, _MAX_INT, None),
            n_seqs=self._whole("parallel", 1, 256),
            n_batch=self._whole("batch-size", 1, 8192),
            n_threads=self._threads("threads"),
            n_threads_batch=self._threads("threads-batch"),
            k_type=self._kv_type("cache-type-k"),
            v_type=self._kv_type("cache-type-v"),
            cache_mib=self._whole("cache-ram", 0, 1 << 24),
            numa=self._numa(),
            load=load,
            mlock=mlock,
            step_target_ms=float(self._whole("step-target-ms", 1, 60_000)),
            **self._self_extend(),
            context_shift=bool(self["context-shift"]),
            max_queue=self._whole("max-queue", 0, 1 << 20),
            max_queue_tokens=self._whole("max-queue-tokens", 1, _MAX_INT),
            n_draft=self._n_draft(),
        )

    def _web(self) -> WebSettings:
        return WebSettings(
            host=self["host"],
            port=self._whole("port", 0, 65535),
            path=self._directory("path"),
            slot_save_path=self._directory("slot-save-path"),
            api_keys=tuple(self._keys),
            alias=self["alias"],
            n_predict=self._whole("n-predict", -1, _MAX_INT),
            timeout_s=self._whole("timeout", 1, 86_400),
            props=bool(self["props"]),
            spm_infill=bool(self["spm-infill"]),
            prefills=self._prefills(),
            metrics=bool(self["metrics"]),
            verbose=bool(self["verbose"]),
            system_prompt=_system_prompt(self["system-prompt-file"]),
        )

    def _directory(self, flag: str) -> str | None:
        """Absolute: a daemon has another working directory."""
        path = self[flag]
        if path is not None and not os.path.isdir(path):
            raise UsageMistake(f"--{flag} {path}: no such directory")
        return None if path is None else os.path.abspath(path)

    def _threads(self, flag: str) -> int:
        """0 stands for the default, which the other servers spell -1."""
        return 0 if self[flag] == "-1" else int(self._whole(flag, 1, 256, 0))

    def _load(self) -> tuple[Load, bool]:
        """Way of loading, and whether to lock.  Old and new spellings may stand together as long as they agree."""
        mode, no_mmap, mlock = self["load-mode"], bool(self["no-mmap"]), bool(self["mlock"])
        if mode == "auto":
            return "read" if no_mmap else "mmap", mlock
        if mode not in _LOAD_MODES:
            raise UsageMistake(f"--load-mode must be one of auto, {', '.join(_LOAD_MODES)}, not {mode!r}")
        load, locked = _LOAD_MODES[mode]
        if no_mmap and load == "mmap":
            raise UsageMistake(f"--no-mmap and --load-mode {mode} contradict each other")
        if mlock and not locked:
            raise UsageMistake(f"--mlock and --load-mode {mode} contradict each other")
        return load, locked

    def _numa(self) -> Numa:
        for wish in NUMA_WISHES:
            if wish == self["numa"]:
                return wish
        raise UsageMistake(f"--numa must be one of {', '.join(NUMA_WISHES)}, not {self['numa']!r}")

    def _prefills(self) -> bool:
        if self["prefill-assistant"] and self["no-prefill-assistant"]:
            raise UsageMistake("--prefill-assistant and --no-prefill-assistant contradict each other")
        return not self["no-prefill-assistant"]

    def _self_extend(self) -> dict[str, int]:
        group_n, group_w = self._whole("grp-attn-n", 1, _MAX_INT), self._whole("grp-attn-w", 1, _MAX_INT)
        if group_n == 1:
            return {}
        if group_w % group_n:
            raise UsageMistake(f"--grp-attn-w must be a multiple of --grp-attn-n, which is {group_n}, not {group_w}")
        if self["context-shift"]:
            raise UsageMistake(
                "--context-shift and --grp-attn-n contradict each other: contexts are shifted or extended"
            )
        return {"group_n": group_n, "group_w": group_w}

    def _n_draft(self) -> int:
        if self["spec-type"] not in ("none", "ngram-simple"):
            raise UsageMistake(f"--spec-type must be none or ngram-simple, not {self['spec-type']!r}")
        n_draft = int(self._whole("spec-draft-n-max", 0, MAX_DRAFT))
        return n_draft if self["spec-type"] == "ngram-simple" else 0

    def _kv_type(self, flag: str) -> KVType:
        for name in KV_TYPES:
            if name == self[flag]:
                return name
        raise UsageMistake(f"--{flag} must be one of {', '.join(KV_TYPES)}, not {self[flag]!r}")

    def _whole(self, flag: str, low: int, high: int, default: Any = None) -> Any:
        """The flag's value as a whole number in low..high; default when it was not given."""
        value = self[flag]
        if value is None:
            return default
        try:
            number = int(value)
        except ValueError:
            raise UsageMistake(f"--{flag} must be a whole number, not {value!r}") from None
        if not low <= number <= high:
            raise UsageMistake(f"--{flag} must be from {low} to {high}, not {number}")
        return number


def _existing_model(name: str | None) -> str:
    """What -m says, if it can be had: a mistyped path is found out at once, not after daemonising."""
    if name is None or name in models.MODELS or os.path.isfile(name):
        return name or ""
    if os.path.isdir(name):
        raise UsageMistake(f"--model {name}: is a directory, must be a GGUF file")
    raise UsageMistake(f"--model {name}: no such file, and not a known name ({', '.join(models.MODELS)})")


def _system_prompt(path: str | None) -> SystemPrompt:
    if path is None:
        return SystemPrompt()
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=SystemPrompt)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageMistake(f"--system-prompt-file {path}: {getattr(error, 'strerror', None) or error}") from None


def _respelled(argv: list[str]) -> list[str]:
    """Spellings that getopt knows; a flag's value is never looked at, whatever it looks like."""
    out, rest = [], deque(argv)
    while rest:
        word = rest.popleft()
        name, equals, value = word.partition("=")
        if name in _UNSERVED:
            raise UsageMistake(f"{name} is not supported in this build")
        flag = _SPELLINGS.get(name, name)
        if flag == "--numa" and not equals and (not rest or rest[0].startswith("-")):
            equals, value = "=", "distribute"  # the old server's --numa had no value
        out.append(flag + equals + value)
        if flag in _FLAGS_WITH_VALUE and not equals and rest:
            out.append(rest.popleft())
    return out

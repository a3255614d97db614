"""From the flags of `twistd llama` to Settings.  What flags say together is judged here; each by itself, in flags/.

A mistake is one line on standard error and exit status 1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from twisted.python import usage

from llamatw import __version__, models
from llamatw.errors import UsageMistake
from llamatw.flags.help import usage as usage_text
from llamatw.flags.parse import Values, parse
from llamatw.flags.table import FLAGS
from llamatw.hub import names
from llamatw.settings import (
    LOAD_MODES,
    Cors,
    EngineSettings,
    Load,
    Positions,
    Remote,
    Settings,
    SystemPrompt,
    WebSettings,
)

T = TypeVar("T")

_PREFIX = re.compile(r"(/[\w.~-]+)*")


class Options(usage.Options):
    """Flags in; `settings` out.  Of twistd's options only the place is used: they are no getopt."""

    settings: Settings

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """A mistake ends the process here: twistd would print all of its own help first."""
        try:
            values = parse(list(options or ()), os.environ)
            if values["help"] or values["version"]:
                print(usage_text() if values["help"] else f"llamatw {__version__}")
                raise SystemExit(0)
            self.settings = Settings(engine=_engine(values), web=_web(values))
        except UsageMistake as error:
            raise SystemExit(f"twistd llama: {error}") from None


def _engine(values: Values) -> EngineSettings:
    load, mlock = _load(values)
    return EngineSettings(
        model_path=_existing_model(values["model"]),
        remote=_remote(values),
        offline=values["offline"],
        n_ctx=values["ctx-size"],
        n_seqs=values["parallel"],
        n_batch=min(values["batch-size"], values["ubatch-size"] or values["batch-size"]),
        n_threads=values["threads"],
        n_threads_batch=values["threads-batch"],
        k_type=values["cache-type-k"],
        v_type=values["cache-type-v"],
        cache_mib=values["cache-ram"],
        numa=values["numa"],
        load=load,
        mlock=mlock,
        step_target_ms=float(values["step-target-ms"]),
        **_self_extend(values),
        context_shift=values["context-shift"],
        unified=values["kv-unified"],
        continuous=values["cont-batching"],
        overrides=values["override-kv"],
        positions=_positions(values),
        max_queue=values["max-queue"],
        max_queue_tokens=values["max-queue-tokens"],
        n_draft=values["spec-draft-n-max"] if values["spec-type"] != "none" else 0,
    )


def _web(values: Values) -> WebSettings:
    return WebSettings(
        hosts=values["host"],
        port=values["port"],
        reuse_port=values["reuse-port"],
        **_tls(values),
        api_prefix=_api_prefix(values["api-prefix"]),
        path=values["path"],
        ui=values["ui"],
        slot_save_path=values["slot-save-path"],
        api_keys=values["api-key"] + values["api-key-file"],
        allowed_hosts=values["allowed-hosts"],
        cors=_cors(values),
        aliases=_aliases(values),
        tags=values["tags"],
        n_predict=values["n-predict"],
        defaults=_defaults(values),
        timeout_s=values["timeout"],
        chat_template=_chat_template(values),
        jinja=values["jinja"],
        metrics=values["metrics"],
        slots=values["slots"],
        props=values["props"],
        spm_infill=values["spm-infill"],
        prefills=values["prefill-assistant"],
        verbose=values["verbose"],
        log_file=None if values["log-file"] is None else os.path.abspath(values["log-file"]),
        log_requests=not values["log-disable"],
        system_prompt=_system_prompt(values["system-prompt-file"]),
    )


def _load(values: Values) -> tuple[Load, bool]:
    """Way of loading, and whether to lock.  Old and new spellings may stand together as long as they agree."""
    mode, no_mmap, mlock = values["load-mode"], not values["mmap"], values["mlock"]
    if mode == "auto":
        return "read" if no_mmap else "mmap", mlock
    load, locked = LOAD_MODES[mode]
    if no_mmap and load == "mmap":
        raise UsageMistake(f"--no-mmap and --load-mode {mode} contradict each other")
    if mlock and not locked:
        raise UsageMistake(f"--mlock and --load-mode {mode} contradict each other")
    return load, locked


def _self_extend(values: Values) -> dict[str, int]:
    group_n, group_w = values["grp-attn-n"], values["grp-attn-w"]
    if group_n == 1:
        return {}
    if group_w % group_n:
        raise UsageMistake(f"--grp-attn-w must be a multiple of --grp-attn-n, which is {group_n}, not {group_w}")
    if values["context-shift"]:
        raise UsageMistake("--context-shift and --grp-attn-n contradict each other: contexts are shifted or extended")
    return {"group_n": group_n, "group_w": group_w}


def _positions(values: Values) -> Positions:
    return Positions(
        scaling=values["rope-scaling"],
        factor=_rope_factor(values),
        base=values["rope-freq-base"] or None,
        original_ctx=values["yarn-orig-ctx"] or None,
        ext_factor=values["yarn-ext-factor"],
        attn_factor=values["yarn-attn-factor"],
        beta_slow=values["yarn-beta-slow"],
        beta_fast=values["yarn-beta-fast"],
    )


def _rope_factor(values: Values) -> float | None:
    scale, frequency = values["rope-scale"], values["rope-freq-scale"]
    if scale and frequency:
        raise UsageMistake("--rope-scale and --rope-freq-scale are two spellings of one setting: give one")
    factor = scale or (1 / frequency if frequency else None)
    if factor is not None and values["rope-scaling"] == "none":
        raise UsageMistake("--rope-scaling none and a scale contradict each other")
    return factor


def _tls(values: Values) -> dict[str, str | None]:
    key, certificate = values["ssl-key-file"], values["ssl-cert-file"]
    if (key is None) != (certificate is None):
        raise UsageMistake("--ssl-key-file and --ssl-cert-file need each other")
    return {"ssl_key_file": key, "ssl_cert_file": certificate}


def _api_prefix(text: str) -> str:
    prefix = text.rstrip("/")
    if not _PREFIX.fullmatch(prefix) or "/." in prefix:
        raise UsageMistake(f"--api-prefix must be a path such as /llama, not {text[:80]!r}")
    return prefix


def _cors(values: Values) -> Cors:
    for origin in values["cors-origins"]:
        if origin not in ("*", "localhost") and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s]+", origin):
            raise UsageMistake(
                f"--cors-origins must be *, localhost or origins such as https://example.org, not {origin!r}"
            )
    return Cors(
        origins=tuple(values["cors-origins"]),
        methods=tuple(_tokens(values["cors-methods"], "--cors-methods")),
        headers=tuple(_tokens(values["cors-headers"], "--cors-headers")),
        credentials=values["cors-credentials"],
    )


def _tokens(found: Sequence[str], flag: str) -> Sequence[str]:
    for word in found:
        if not re.fullmatch(r"[\w*!#$%&'+.^`|~-]+", word, re.ASCII):
            raise UsageMistake(f"{flag} must be names of HTTP, not {word[:40]!r}")
    return found


def _defaults(values: Values) -> dict[str, Any]:
    """Fields of requests that flags give a value to; two flags of one field contradict each other."""
    found: dict[str, Any] = {}
    for flag in FLAGS:
        if flag.field and values[flag.name] is not None:
            if flag.field in found:
                raise UsageMistake(f"--{flag.name} and another flag of {flag.field} were given: give one")
            value = values[flag.name]
            found[flag.field] = list(value) if flag.repeats else value
    if "grammar" in found and "json_schema" in found:
        raise UsageMistake("--grammar and --json-schema contradict each other")
    return found


def _chat_template(values: Values) -> str | None:
    """The text of a template, or the name of a built-in one, which whoever renders knows."""
    given: str | None = values["chat-template"]
    text: str | None = values["chat-template-file"]
    if given is not None and text is not None:
        raise UsageMistake("--chat-template and --chat-template-file were given: give one")
    if given is None or "{%" in given or "{{" in given or not os.path.isfile(given):
        return text if given is None else given
    try:
        with open(given, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageMistake(f"--chat-template {given}: {getattr(error, 'strerror', None) or error}") from None


def _existing_model(name: str | None) -> str:
    """What -m says, if it can be had: a mistyped path is found out at once, not after daemonising."""
    if name is None or name in models.MODELS or os.path.isfile(name):
        return name or ""
    if os.path.exists(name):
        kind = "a directory" if os.path.isdir(name) else "a pipe or device"
        raise UsageMistake(f"--model {name}: is {kind}, must be a GGUF file")
    raise UsageMistake(f"--model {name}: no such file, and not a known name ({', '.join(models.MODELS)})")


def _remote(values: Values) -> Remote | None:
    """What -hf or -mu say.  A model comes from one place."""
    given = [f"--{name}" for name in ("model", "hf-repo", "model-url") if values[name] is not None]
    if len(given) > 1:
        raise UsageMistake(f"{' and '.join(given)} were given: a model comes from one place")
    if values["model-url"] is not None:
        return Remote(url=_of("--model-url", names.web_address, values["model-url"]), token=values["hf-token"])
    if values["hf-repo"] is None:
        if values["hf-file"] is not None:
            raise UsageMistake("--hf-file needs --hf-repo")
        return None
    repo, tag = _of("--hf-repo", names.repository, values["hf-repo"])
    if tag and values["hf-file"] is not None:
        raise UsageMistake(f"--hf-file and the {tag} of --hf-repo were given: give one")
    return Remote(repo=repo, tag=tag, file=values["hf-file"] or "", token=values["hf-token"])


def _aliases(values: Values) -> tuple[str, ...]:
    """A path in the cache tells nobody which model it is, so one of a hub has its name there."""
    wanted = _remote(values)
    named = (names.shown(wanted),) if wanted is not None and wanted.repo else ()
    return tuple(sorted(set(values["alias"] or named)))


def _of(flag: str, reading: Callable[[str], T], text: str) -> T:
    try:
        return reading(text)
    except UsageMistake as error:
        raise UsageMistake(f"{flag} {error.message}") from None


def _system_prompt(path: str | None) -> SystemPrompt:
    if path is None:
        return SystemPrompt()
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=SystemPrompt)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageMistake(f"--system-prompt-file {path}: {getattr(error, 'strerror', None) or error}") from None

"""Flags that are defaults of a request's fields.  Ranges are those of the fields, checked where requests are."""

from __future__ import annotations

from llamatw.flags.kinds import (
    MAX_INT,
    Flag,
    Kind,
    any_real,
    any_whole,
    contents,
    json_file,
    json_object,
    logit_biases,
    whole,
)


def _whole(spellings: str, field: str, help: str, env: str | None = None) -> Flag:
    return _field(spellings, field, "N", any_whole, help, env)


def _real(spellings: str, field: str, help: str, env: str | None = None) -> Flag:
    return _field(spellings, field, "X", any_real, help, env)


def _field(spellings: str, field: str, value: str, kind: Kind, help: str, env: str | None = None) -> Flag:
    *also, long = spellings.split()
    return Flag(
        name=long.removeprefix("--"),
        also=tuple(also),
        value=value,
        kind=kind,
        field=field,
        help=help,
        env=env and f"LLAMA_ARG_{env}",
    )


def _chain(text: str) -> list[str]:
    return [name for name in text.replace(",", ";").split(";") if name]


SAMPLING = [
    Flag(
        name="n-predict",
        also=("-n", "--predict"),
        value="N",
        kind=whole(-2, MAX_INT),
        default=-1,
        env="LLAMA_ARG_N_PREDICT",
        help="tokens that a request may generate at most; -1: as it says; -2: by default until the context is full",
    ),
    _whole("--keep", "n_keep", "tokens of the prompt that stay when a context is shifted; -1: all", "KEEP"),
    _whole("-s --seed", "seed", "seed of sampling; -1: another one each time", "SEED"),
    _real(
        "--temperature --temp",
        "temperature",
        "temperature; 0: always the likeliest token (default: 0.8)",
        "TEMPERATURE",
    ),
    _whole("--top-k", "top_k", "only the N likeliest tokens; 0: all (default: 40)", "TOP_K"),
    _real("--top-p", "top_p", "only the likeliest tokens that have this share together (default: 0.95)", "TOP_P"),
    _real("--min-p", "min_p", "only tokens at least this times as likely as the likeliest (default: 0.05)", "MIN_P"),
    _real("--typical --typical-p", "typical_p", "locally typical sampling; 1: off"),
    _real("--top-nsigma --top-n-sigma", "top_n_sigma", "only logits within so many deviations of the largest; -1: off"),
    _real("--xtc-probability", "xtc_probability", "how often the likeliest tokens are left out"),
    _real("--xtc-threshold", "xtc_threshold", "how likely such tokens must be"),
    _whole("--repeat-last-n", "repeat_last_n", "window of the penalties, in tokens; -1: the context (default: 64)"),
    _real(
        "--repeat-penalty",
        "repeat_penalty",
        "logits of tokens in it are divided by this (default: 1.1, 1 on /v1)",
        "REPEAT_PENALTY",
    ),
    _real(
        "--presence-penalty",
        "presence_penalty",
        "is taken from the logit of a token that is in it (default: 0)",
        "PRESENCE_PENALTY",
    ),
    _real(
        "--frequency-penalty",
        "frequency_penalty",
        "the same, for each time that it is (default: 0)",
        "FREQUENCY_PENALTY",
    ),
    _real("--dry-multiplier", "dry_multiplier", "penalty on repeated sequences; 0: off"),
    _real("--dry-base", "dry_base", "its growth with their length"),
    _whole("--dry-allowed-length", "dry_allowed_length", "tokens that may be repeated freely"),
    _whole("--dry-penalty-last-n", "dry_penalty_last_n", "tokens that are searched; -1: the context"),
    _real("--dynatemp-range", "dynatemp_range", "the temperature moves by this with the entropy; 0: off"),
    _real("--dynatemp-exp", "dynatemp_exponent", "and so steeply"),
    _whole("--mirostat", "mirostat", "1 or 2: sampling of steady surprise; 0: off"),
    _real("--mirostat-lr", "mirostat_eta", "its learning rate"),
    _real("--mirostat-ent", "mirostat_tau", "its surprise"),
    _real("--adaptive-target", "adaptive_target", "probability that sampling aims at; -1: off"),
    _real("--adaptive-decay", "adaptive_decay", "how slowly that moves"),
    _field("--samplers", "samplers", "NAMES", _chain, "the chain of samplers, by semicolons"),
    Flag(
        name="dry-sequence-breaker",
        value="TEXT",
        kind=lambda text: (text,),
        repeats=True,
        field="dry_sequence_breakers",
        help="a text that no repetition goes across; repeat it for several",
    ),
    _field("--sampling-seq --sampler-seq", "samplers", "LETTERS", str, "the same in letters, such as edskypmxt"),
    Flag(name="ignore-eos", field="ignore_eos", help="generate on after the end"),
    Flag(
        name="logit-bias",
        also=("-l",),
        value="TOKEN+BIAS",
        kind=logit_biases,
        repeats=True,
        field="logit_bias",
        help="what is added to a token's logit; repeat it for several",
    ),
    _field("--grammar", "grammar", "GBNF", str, "grammar of answers, where a request states none"),
    _field("--grammar-file", "grammar", "FILE", contents, "the same from a file"),
    _field("-j --json-schema", "json_schema", "JSON", json_object, "schema of answers, where a request states none"),
    _field("-jf --json-schema-file", "json_schema", "FILE", json_file, "the same from a file"),
    Flag(
        name="cache-prompt",
        off=("--no-cache-prompt",),
        env="LLAMA_ARG_CACHE_PROMPT",
        field="cache_prompt",
        help="take the beginnings of prompts from the cache (default: on); the answers are the same",
    ),
    _whole("--cache-reuse", "n_cache_reuse", "pieces of the cache that may be moved, in tokens; 0: off", "CACHE_REUSE"),
    _whole(
        "--sse-ping-interval",
        "sse_ping_interval",
        "seconds between a silent stream's comments; -1: none",
        "SSE_PING_INTERVAL",
    ),
]

"""Fill in the middle: prompts for what stands between a beginning and an end.

    [REP] myproject\\n                      where the model has tokens for repositories and files
    [SEP] FILENAME\\n TEXT                  for each extra file; without [SEP]: a line of text, then TEXT
    [SEP] filename\\n
    [PRE] beginning [SUF] end [MID]        with --spm-infill: [SUF] end [PRE] beginning [MID]

The texts are a client's: what looks like a control token in them is none.
"""

from __future__ import annotations

import msgspec

from llamatw.engine.service import ModelInfo
from llamatw.errors import NotSupported
from llamatw.settings import SystemPrompt
from llamatw.web import prompts
from llamatw.web.api import Api
from llamatw.web.prompts import Prompt

_REPOSITORY = "myproject\n"  # names that a request cannot give
_FILE = "filename\n"
_SNIPPET = "\n\n--- snippet ---\n\n"
_PLACES = {  # what the token stands before -> keys of its id in a model file, its usual texts
    "prefix": (
        ("fim_pre_token_id", "prefix_token_id"),
        ("<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<PRE>", "\u2581<PRE>", "<\uff5cfim\u2581begin\uff5c>"),
    ),
    "suffix": (
        ("fim_suf_token_id", "suffix_token_id"),
        ("<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<SUF>", "\u2581<SUF>", "<\uff5cfim\u2581hole\uff5c>"),
    ),
    "middle": (
        ("fim_mid_token_id", "middle_token_id"),
        ("<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<MID>", "\u2581<MID>", "<\uff5cfim\u2581end\uff5c>"),
    ),
    "repository": (
        ("fim_rep_token_id",),
        ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    ),
    "file": (("fim_sep_token_id",), ("<|file_sep|>",)),
}


class Extra(msgspec.Struct):
    """One of `input_extra`: another file that the model shall know."""

    text: str = ""
    filename: str = "tmp"


class Hole(msgspec.Struct, frozen=True, kw_only=True):
    field: str | None = None  # of the request, that there would be no hole without
    before: Prompt = []
    after: Prompt = []
    extra: list[Extra] = []


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """Ids of a model's own tokens."""

    prefix: int
    suffix: int
    middle: int
    repository: int | None
    file: int | None


def find_tokens(model: ModelInfo, tokenize: prompts.Tokenizer, field: str | None = None) -> Tokens:
    """By the model file's word, else by their texts.  NotSupported names what the model lacks, and the field."""
    ids = {place: _find(model, tokenize, *where) for place, where in _PLACES.items()}
    lacks = [place for place in ("prefix", "suffix", "middle") if ids[place] is None]
    if lacks:
        raise NotSupported(f"infill is not supported by this model: it has no FIM token for {', '.join(lacks)}", field)
    return msgspec.convert(ids, Tokens)


async def prompt_ids(api: Api, hole: Hole, system: SystemPrompt | None = None) -> list[int]:
    """Token ids of the whole prompt, the system prompt or BOS in front; system: the one that the request brings."""
    head = await api.system_ids(system or api.system)
    tokens = find_tokens(api.engine.info, api.engine.tokenize, hole.field)
    size = sum(map(prompts.size, (hole.before, hole.after))) + sum(len(extra.text) for extra in hole.extra)

    def work() -> list[int]:
        return (head or _bos(api)) + _ids(api, tokens, hole)

    return await api.run(work, size)


def _ids(api: Api, tokens: Tokens, hole: Hole) -> list[int]:
    def ids(prompt: Prompt) -> list[int]:
        return prompts.to_ids(prompt, api.engine.tokenize, add_special=False, parse_special=False)

    before = [tokens.prefix, *ids(hole.before)]
    after = [tokens.suffix, *_without_lone_space(api, ids(hole.after))]
    middle = after + before if api.settings.spm_infill else before + after
    return ids(_context(tokens, hole.extra)) + middle + [tokens.middle]


def _context(tokens: Tokens, extras: list[Extra]) -> Prompt:
    """What stands in front of the file with the hole."""
    out: Prompt = [] if tokens.repository is None else [tokens.repository, _REPOSITORY]
    for extra in extras:
        out += [_SNIPPET] if tokens.file is None else [tokens.file, f"{extra.filename}\n"]
        out.append(extra.text)
    return out if tokens.file is None else [*out, tokens.file, _FILE]


def _bos(api: Api) -> list[int]:
    return api.engine.tokenize("", add_special=True)[:1] if api.engine.info.add_bos else []


def _without_lone_space(api: Api, ids: list[int]) -> list[int]:
    """A SentencePiece vocabulary puts a space in front of a text; here the text goes on after a token."""
    is_spm = api.engine.metadata("tokenizer.ggml.model") == "llama"
    return ids[1:] if is_spm and ids and api.engine.detokenize_bytes(ids[:1]) == b" " else ids


def _find(model: ModelInfo, tokenize: prompts.Tokenizer, keys: tuple[str, ...], texts: tuple[str, ...]) -> int | None:
    for key in keys:
        id = model.metadata.get(f"tokenizer.ggml.{key}")
        if isinstance(id, int) and not isinstance(id, bool) and 0 <= id < model.n_vocab:
            return id
    for text in texts:
        ids = tokenize(text, add_special=False, parse_special=True)
        if len(ids) == 1 and ids != tokenize(text, add_special=False, parse_special=False):
            return ids[0]
    return None

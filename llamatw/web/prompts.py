"""The forms a prompt may have, and how they become token ids.

"text"                       one prompt; control tokens in it are parsed, BOS in front if the model wants it
[1, 2, 3]  ["a", 12, "b"]    one prompt of ids and texts; BOS only when it starts with a text
{"prompt_string": "text"}    one prompt
["a", [1, 2], ...]           without a number among its elements: several prompts (a single element is one prompt)
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any, Protocol

from llamatw.errors import BadRequest, NotSupported

_CALL_COST = 16  # characters that the tokenizer gets through in the time of one call

Part = str | int
Prompt = list[Part]


class Tokenizer(Protocol):
    def __call__(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]: ...


def parse(prompt: object, max_prompts: int) -> list[Prompt]:
    """The prompts in order.  One without any part is the empty prompt."""
    if not isinstance(prompt, list):
        return [_single(prompt, "prompt")]
    if not prompt:
        raise BadRequest("prompt is an empty list", "prompt")
    if any(_is_number(part) for part in prompt):
        return [_mixed(prompt, "prompt")]
    if len(prompt) > max_prompts:
        raise BadRequest(f"prompt holds {len(prompt)} prompts, this server takes {max_prompts} at once", "prompt")
    return [_single(part, "prompt") for part in prompt]


def parse_one(content: object, field: str) -> Prompt:
    """One text or mixed list, also an empty one."""
    return [] if content == [] else _single(content, field)


def is_several(prompt: object) -> bool:
    """Whether the answer is a list, too."""
    return isinstance(prompt, list) and len(prompt) > 1 and not any(_is_number(part) for part in prompt)


def check_ids(prompt: Prompt, field: str, n_vocab: int) -> None:
    for part in prompt:
        if isinstance(part, int) and not 0 <= part < n_vocab:
            raise BadRequest(f"{field}: a token id is out of range, the vocabulary has {n_vocab} tokens", field)


def size(prompt: Prompt) -> int:
    """The work that tokenizing it is, in characters."""
    return sum(1 if isinstance(part, int) else len(part) + _CALL_COST for part in prompt)


def to_ids(prompt: Prompt, tokenize: Tokenizer, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
    ids: list[int] = []
    for index, part in enumerate(prompt):
        if isinstance(part, int):
            ids.append(part)
        else:
            ids += tokenize(part, add_special=add_special and index == 0, parse_special=parse_special)
    return ids


def to_text(prompt: Prompt, detokenize: Callable[[list[int]], str]) -> str:
    """Ids that follow each other are detokenized together: one alone may be a part of a character."""
    runs = (list(run) for _, run in groupby(prompt, type))
    return "".join(
        "".join(map(str, run)) if isinstance(run[0], str) else detokenize([int(part) for part in run]) for run in runs
    )


def _single(prompt: object, field: str) -> Prompt:
    if prompt is None or prompt == "":
        return []
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, list) and prompt:
        return _mixed(prompt, field)
    if isinstance(prompt, dict) and isinstance(prompt.get("prompt_string"), str):
        return _with_media(prompt, field)
    raise BadRequest(f"{field} must be a string, a list of token ids and strings, or a list of those", field)


def _with_media(prompt: dict[str, Any], field: str) -> Prompt:
    if prompt.get("multimodal_data"):
        raise NotSupported("multimodal_data is not supported in this build", "multimodal_data")
    return _single(prompt["prompt_string"], field)


def _mixed(parts: list[object], field: str) -> Prompt:
    """Ids are range-checked by whoever knows the vocabulary."""
    prompt: Prompt = []
    for part in parts:
        if not isinstance(part, int | str) or isinstance(part, bool):
            raise BadRequest(f"{field}: a list must hold token ids and strings, not {str(part)[:40]}", field)
        prompt.append(part)
    return prompt


def _is_number(part: object) -> bool:
    return isinstance(part, int | float) and not isinstance(part, bool)

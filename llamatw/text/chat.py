"""Messages -> prompt, by the chat template that the model file carries.

What a user wrote must never become a control token, whatever it looks like.  So each message's text is rendered between
two private marks, and the prompt is known afterwards in pieces: the template's own text, in which "<|im_end|>" is the
control token, and the messages' text, in which it is ten characters.

    template     <|im_start|>user\\n   <mark>Hi <|im_end|> there<mark>   <|im_end|>\\n ...
    piece        trusted              not trusted                       trusted
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import msgspec
from jinja2 import TemplateError

from llamatw.errors import TemplateRejected
from llamatw.text.abilities import probe
from llamatw.text.bounded import TooCostly, assembled
from llamatw.text.sandbox import TemplateSandbox
from llamatw.text.thoughts import without_tags

MAX_SOURCE = 1 << 20  # characters of a template

T = TypeVar("T")


class Message(msgspec.Struct, frozen=True):
    role: str
    content: str


class Piece(msgspec.Struct, frozen=True):
    text: str
    trusted: bool  # the template's own words: control tokens are parsed


class Tokenize(Protocol):
    def __call__(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]: ...


class Rendered(msgspec.Struct, frozen=True):
    """A prompt: its text, and its pieces where the template let the marks through (None where it did not)."""

    text: str
    pieces: tuple[Piece, ...] | None
    lost: tuple[str, ...]  # messages' texts whose place is not known: the template may have shown parts of them
    values: tuple[str, ...] = ()  # texts in the variables: the template may have put them anywhere


class ChatTemplate:
    """One compiled template.  Raises TemplateRejected for everything that is wrong with it or with the messages."""

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        if len(source) > MAX_SOURCE:
            raise TemplateRejected(f"the chat template has {len(source)} characters, the limit is {MAX_SOURCE}")
        self.source = source
        self._constants = {"bos_token": bos, "eos_token": eos, "tools": None, "documents": None}
        self._generate = _guarded(lambda: TemplateSandbox().prepare(source))

    @cached_property
    def abilities(self) -> dict[str, bool]:
        """What the template can do, found out when first asked for."""

        return probe(self.write, lambda error: isinstance(error.__cause__, TooCostly))

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        prefill: str = "",
        variables: Mapping[str, Any] = MappingProxyType({}),
    ) -> Rendered:
        """prefill: what stands behind all that.  variables: what the template can look at beside the messages."""
        settings = {**variables, **self._constants, "add_generation_prompt": add_generation_prompt}
        word = secrets.token_hex(8)
        text = self.write([{"role": m.role, "content": m.content} for m in messages], **settings)
        marked = self.write(
            [{"role": m.role, "content": _marked(m.content, word, n)} for n, m in enumerate(messages)], **settings
        )
        pieces, seen = _split(marked, word, text)
        lost = tuple(_without_thoughts(m) for n, m in enumerate(messages) if n not in seen)
        if pieces is not None and prefill:
            pieces = (*pieces, Piece(prefill, False))
        elif prefill:
            lost = (*lost, prefill)
        return Rendered(text + prefill, pieces, lost, tuple(_texts(list(variables.items()))))

    def write(self, messages: Sequence[Mapping[str, Any]], **variables: Any) -> str:
        """What the template makes of messages and variables (tools, add_generation_prompt, ...) as they are: JSON."""
        return _guarded(lambda: assembled(self._generate(messages=messages, **{**self._constants, **variables})))


def prompt_ids(
    prompt: Rendered, tokenize: Tokenize, token_text: Callable[[int], str], *, add_special: bool
) -> list[int]:
    """Token ids of a rendered prompt, with no control token that a message's text asked for.

    The whole text is tokenised in one go, so that words are cut as the model knows them, also where a message meets the
    template.  Only if that yields some control token more often than the pieces tokenised apart do, the pieces are
    used.
    A template that looked inside a message's text (so that the marks changed its output, or did not come out) may have
    put it anywhere: then a message with the text of a control token is refused.  The tags of thoughts are none in what
    the assistant has said: a client that sends them back means them, and templates look for them.
    """

    def control_tokens_gained(whole: list[int], parts: list[int]) -> bool:
        gained = Counter(whole) - Counter(parts)
        return any(_is_control(token, tokenize, token_text) for token in gained)

    def holds_control_token(text: str) -> bool:
        loose = tokenize(text, add_special=False, parse_special=True)
        strict = tokenize(text, add_special=False, parse_special=False)
        return loose != strict and control_tokens_gained(loose, strict)

    if any(map(holds_control_token, prompt.values)):
        raise TemplateRejected("chat_template_kwargs hold the text of a control token", "chat_template_kwargs")
    if any(map(holds_control_token, prompt.lost)):
        raise TemplateRejected(
            "a message holds the text of a control token, and this model's chat template rewrites messages", "messages"
        )
    whole = tokenize(prompt.text, add_special=add_special, parse_special=True)
    if prompt.pieces is None:
        return whole
    apart = _tokenize_apart(prompt.pieces, tokenize, add_special)
    return apart if control_tokens_gained(whole, apart) else whole


def _tokenize_apart(pieces: Sequence[Piece], tokenize: Tokenize, add_special: bool) -> list[int]:
    ids: list[int] = []
    for index, piece in enumerate(pieces):
        ids += tokenize(piece.text, add_special=add_special and index == 0, parse_special=piece.trusted)
    return ids


def _is_control(token: int, tokenize: Tokenize, token_text: Callable[[int], str]) -> bool:
    text = token_text(token)
    loose = tokenize(text, add_special=False, parse_special=True)
    return loose != tokenize(text, add_special=False, parse_special=False)


def _texts(value: object) -> Iterator[str]:
    """All texts in a JSON value, names too."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            todo += item.items()
        elif isinstance(item, list | tuple):
            todo += item


def _without_thoughts(message: Message) -> str:
    return without_tags(message.content) if message.role == "assistant" else message.content


def _marked(content: str, word: str, number: int) -> str:
    """White space stays outside the marks: templates trim it, and it is no control token."""
    core = content.strip()
    if not core:
        return content
    start = content.index(core)
    rest = content[start + len(core) :]
    return f"{content[:start]}\ue000{word}<{number}\ue001{core}\ue000{word}>{number}\ue001{rest}"


def _split(marked: str, word: str, text: str) -> tuple[tuple[Piece, ...] | None, set[int]]:
    """Pieces of the text by the marks in it, and whose marks they were; None unless each message's are a pair, and
    nothing differs but for them."""
    parts = re.split(f"\ue000{word}([<>])([0-9]+)\ue001", marked)
    texts, sides, numbers = parts[::3], parts[1::3], [int(number) for number in parts[2::3]]
    in_pairs = sides == ["<", ">"] * (len(sides) // 2) and numbers[::2] == numbers[1::2]
    if not in_pairs or "".join(texts) != text:
        return None, set()
    pieces = (Piece(part, index % 2 == 0) for index, part in enumerate(texts))
    return tuple(piece for piece in pieces if piece.text), set(numbers)


def _guarded(work: Callable[[], T]) -> T:
    """A template can fail in any way a program can; each is the template's or the messages' fault, not the server's."""
    try:
        return work()
    except TemplateError as error:
        raise TemplateRejected(
            f"the chat template refuses these messages: {error.message or type(error).__name__}"
        ) from error
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise TemplateRejected(f"the chat template fails: {type(error).__name__}: {str(error)[:200]}") from error
    except (RecursionError, MemoryError) as error:
        raise TemplateRejected("the chat template needs too much memory") from error

"""Bodies of OpenAI's chat dialect: the messages, and what they come to for the template.

A message of the assistant at the end is no turn that is over: the model goes on with it.  The turns before it are
rendered as usual, and its text stands behind what opens the assistant's turn.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from llamatw.errors import BadRequest, NotSupported
from llamatw.text.chat import Message
from llamatw.text.sandbox import GLOBALS
from llamatw.web.schema import Flag, Generating, Number, Object, Objects, Text

MAX_MESSAGES = 4096
MAX_VARIABLES = 32
MAX_VARIABLE_BYTES = 64 << 10  # of all, as JSON
SERVED_ROLES = ("system", "developer", "user", "assistant")
UNSERVED_ROLES = ("tool", "function")
UNSERVED_PARTS = ("image_url", "input_image", "input_audio", "input_video", "video_url", "file", "refusal")
_VARIABLE = re.compile(r"[A-Za-z]\w{0,63}", re.ASCII)
_OURS = {*GLOBALS, "messages", "add_generation_prompt", "bos_token", "eos_token", "tools", "documents", "self", "loop"}


class ContentPart(msgspec.Struct):
    """One part of a message's content; only text parts are served."""

    type: str
    text: Text = None


class ChatMessage(msgspec.Struct):
    role: str
    content: str | list[ContentPart] | None = None
    tool_calls: list[Any] | None = None


class ChatRequest(Generating, kw_only=True):
    """POST /v1/chat/completions, its input_tokens, and /apply-template."""

    messages: list[ChatMessage]
    model: Text = None
    add_generation_prompt: Flag = None
    continue_final_message: bool | str | None = None
    chat_template_kwargs: Object = None
    logprobs: Flag = None
    top_logprobs: Number = None
    tools: Objects = None
    tool_choice: str | dict[str, Any] | None = None
    functions: Objects = None
    function_call: str | dict[str, Any] | None = None
    chat_template: Text = None
    reasoning_effort: Text = None
    modalities: list[str] | None = None
    audio: Object = None


class Conversation(msgspec.Struct, frozen=True):
    """What a template is given."""

    messages: list[Message]  # turns that are over
    opens_turn: bool  # of the assistant, at the end
    prefill: str  # what the assistant has said in that turn
    variables: dict[str, Any]  # beside the messages


def conversation(request: ChatRequest, prefills: bool) -> Conversation:
    """prefills: whether an assistant's message at the end is gone on with when the request does not say."""
    turns = _turns(request)
    variables = _variables(request.chat_template_kwargs or {})
    if not _continues(request, turns, prefills):
        return Conversation(turns, request.add_generation_prompt is not False, "", variables)
    if len(turns) > 1 and turns[-2].role == "assistant":
        raise BadRequest("messages: two messages of the assistant at the end cannot be gone on with", "messages")
    return Conversation(turns[:-1], True, turns[-1].content, variables)


def _continues(request: ChatRequest, turns: list[Message], prefills: bool) -> bool:
    field, wish = "continue_final_message", request.continue_final_message
    can = turns[-1].role == "assistant"
    if not wish:
        return can and prefills and request.add_generation_prompt is not False
    if wish == "reasoning_content":
        raise NotSupported(f"{field}: reasoning_content is not supported in this build", field)
    if wish not in (True, "content"):
        raise BadRequest(f'{field} must be a bool, "content" or "reasoning_content"', field)
    if request.add_generation_prompt:
        raise BadRequest(f"{field} and add_generation_prompt exclude each other", field)
    if not can:
        raise BadRequest(f"{field}: the last message is not the assistant's", field)
    return True


def _variables(given: dict[str, Any]) -> dict[str, Any]:
    """Names that a template may look for, and that mean nothing else to it."""
    field = "chat_template_kwargs"
    if len(given) > MAX_VARIABLES:
        raise BadRequest(f"{field} holds {len(given)} names, the limit is {MAX_VARIABLES}", field)
    n_bytes = len(msgspec.json.encode(given))
    if n_bytes > MAX_VARIABLE_BYTES:
        raise BadRequest(f"{field} has {n_bytes} bytes, the limit is {MAX_VARIABLE_BYTES}", field)
    for name, value in given.items():
        if not _VARIABLE.fullmatch(name) or name in _OURS:
            raise BadRequest(f"{field} must not hold the name {name[:64]!r}", field)
        if name == "enable_thinking" and not isinstance(value, bool):
            raise BadRequest(f"{field}: enable_thinking must be true or false", field)
    return given


def _turns(request: ChatRequest) -> list[Message]:
    """Plain text turns, with roles that templates know."""
    if not 1 <= len(request.messages) <= MAX_MESSAGES:
        raise BadRequest(f"messages must hold 1 to {MAX_MESSAGES} messages, not {len(request.messages)}", "messages")
    return [Message(_role(message), _content(message)) for message in request.messages]


def _role(message: ChatMessage) -> str:
    if message.role in UNSERVED_ROLES or message.tool_calls:
        raise NotSupported("messages: tool calls and their results are not supported in this build", "messages")
    if message.role not in SERVED_ROLES:
        raise BadRequest(f"messages: unknown role {message.role[:40]!r}", "messages")
    return "system" if message.role == "developer" else message.role


def _content(message: ChatMessage) -> str:
    if message.content is None and message.role != "assistant":
        raise BadRequest(f"messages: a message of role {message.role} has no content", "messages")
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    return "\n".join(map(_part_text, message.content))


def _part_text(part: ContentPart) -> str:
    if part.type in UNSERVED_PARTS:
        raise NotSupported(f"messages: content of type {part.type} is not supported in this build", "messages")
    if part.type != "text" or part.text is None:
        raise BadRequest(f"messages: a content part of type {part.type[:40]!r} must be text", "messages")
    return part.text

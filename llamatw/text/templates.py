"""Built-in chat templates, and which template a server uses.

Each is put together from what stands before and after a message of each role; the sources are the model makers' own
descriptions of their formats.  They are Jinja like a model's own, so that all that holds for those holds for these.
"""

from __future__ import annotations

import json

from llamatw.errors import TemplateRejected

_BAR = "\uff5c"  # the bars in DeepSeek's tokens are full-width

Turns = dict[str, tuple[str, str]]  # role -> what stands before and after its messages, with {eos} for that token

_BOS = "{{ bos_token }}"
_OTHER_ROLE = "{% else %}{{ raise_exception('the role ' ~ m['role'] ~ ' is not in this template') }}{% endif %}"


def _literal(words: str) -> str:
    return json.dumps(words, ensure_ascii=False)


def _text(words: str) -> str:
    """A piece of template that shows these words."""
    return "{{ eos_token }}".join("{{ " + _literal(part) + " }}" if part else "" for part in words.split("{eos}"))


def _loop(turns: Turns, over: str, head: str) -> str:
    """Messages one after the other; head stands in front of the first one's content."""
    branches = (
        f"{{% {word} m['role'] == '{role}' %}}{_text(before)}{head}{{{{ m['content'] | trim }}}}{_text(after)}"
        for word, (role, (before, after)) in zip(["if"] + ["elif"] * len(turns), turns.items(), strict=False)
    )
    return f"{{% for m in {over} %}}{''.join(branches)}{_OTHER_ROLE}{{% endfor %}}"


def _answer(words: str) -> str:
    return f"{{% if add_generation_prompt %}}{_text(words)}{{% endif %}}"


def _plain(turns: Turns, answer: str = "", bos: str = _BOS) -> str:
    """Every role has its own turn."""
    return bos + _loop(turns, "messages", "") + _answer(answer)


def _merged(turns: Turns, answer: str = "", system: tuple[str, str] = ("", "\n\n"), bos: str = _BOS) -> str:
    """A first message of the system stands at the start of the first turn."""
    before, after = map(_literal, system)
    head = (
        "{% if messages and messages[0]['role'] == 'system' %}"
        f"{{% set head = {before} + (messages[0]['content'] | trim) + {after} %}}{{% set turns = messages[1:] %}}"
        "{% else %}{% set head = '' %}{% set turns = messages %}{% endif %}"
    )
    return head + bos + _loop(turns, "turns", "{{ head if loop.first else '' }}") + _answer(answer)


def _same(before: str, after: str, names: dict[str, str]) -> Turns:
    """Turns that differ in the role's name only."""
    return {role: (before.replace("ROLE", name), after) for role, name in names.items()}


_ROLES = {"system": "system", "user": "user", "assistant": "assistant"}

BUILT_IN: dict[str, str] = {
    "chatml": _plain(_same("<|im_start|>ROLE\n", "<|im_end|>\n", _ROLES), "<|im_start|>assistant\n", bos=""),
    "command-r": _plain(
        _same(
            "<|START_OF_TURN_TOKEN|><|ROLE_TOKEN|>",
            "<|END_OF_TURN_TOKEN|>",
            {"system": "SYSTEM", "user": "USER", "assistant": "CHATBOT"},
        ),
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    ),
    "deepseek": _plain(
        {
            "system": ("", "\n"),
            "user": ("### Instruction:\n", "\n"),
            "assistant": ("### Response:\n", "\n<|EOT|>\n"),
        },
        "### Response:\n",
    ),
    "deepseek2": _plain(
        {"system": ("", "\n\n"), "user": ("User: ", "\n\n"), "assistant": ("Assistant: ", "{eos}")}, "Assistant:"
    ),
    "deepseek3": _plain(
        {
            "system": ("", ""),
            "user": (f"<{_BAR}User{_BAR}>", ""),
            "assistant": (f"<{_BAR}Assistant{_BAR}>", f"<{_BAR}end▁of▁sentence{_BAR}>"),
        },
        f"<{_BAR}Assistant{_BAR}>",
    ),
    "gemma": _merged(
        _same("<start_of_turn>ROLE\n", "<end_of_turn>\n", {"user": "user", "assistant": "model"}),
        "<start_of_turn>model\n",
    ),
    "granite": _plain(
        _same("<|start_of_role|>ROLE<|end_of_role|>", "<|end_of_text|>\n", _ROLES),
        "<|start_of_role|>assistant<|end_of_role|>",
        bos="",
    ),
    "llama2": _merged(
        {"user": ("{bos}[INST] ", " [/INST]"), "assistant": (" ", " {eos}")},
        system=("<<SYS>>\n", "\n<</SYS>>\n\n"),
        bos="",
    ).replace('{{ "{bos}[INST] " }}', '{{ bos_token }}{{ "[INST] " }}'),
    "llama3": _plain(
        _same("<|start_header_id|>ROLE<|end_header_id|>\n\n", "<|eot_id|>", _ROLES),
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "llama4": _plain(
        _same("<|header_start|>ROLE<|header_end|>\n\n", "<|eot|>", _ROLES),
        "<|header_start|>assistant<|header_end|>\n\n",
    ),
    "mistral-v1": _merged({"user": (" [INST] ", " [/INST]"), "assistant": (" ", "{eos}")}),
    "mistral-v3": _merged({"user": ("[INST] ", "[/INST]"), "assistant": (" ", "{eos}")}),
    "mistral-v3-tekken": _merged({"user": ("[INST]", "[/INST]"), "assistant": ("", "{eos}")}),
    "mistral-v7": _plain(
        {
            "system": ("[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"),
            "user": ("[INST] ", "[/INST]"),
            "assistant": (" ", "{eos}"),
        }
    ),
    "mistral-v7-tekken": _plain(
        {"system": ("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"), "user": ("[INST]", "[/INST]"), "assistant": ("", "{eos}")}
    ),
    "openchat": _plain(
        {
            "system": ("", "<|end_of_turn|>"),
            "user": ("GPT4 Correct User: ", "<|end_of_turn|>"),
            "assistant": ("GPT4 Correct Assistant: ", "<|end_of_turn|>"),
        },
        "GPT4 Correct Assistant:",
    ),
    "phi3": _plain(_same("<|ROLE|>\n", "<|end|>\n", _ROLES), "<|assistant|>\n"),
    "phi4": _plain(_same("<|im_start|>ROLE<|im_sep|>", "<|im_end|>", _ROLES), "<|im_start|>assistant<|im_sep|>", ""),
    "vicuna": _plain(
        {"system": ("", " "), "user": ("USER: ", " "), "assistant": ("ASSISTANT: ", "{eos}")}, "ASSISTANT:"
    ),
    "zephyr": _plain(_same("<|ROLE|>\n", "{eos}\n", _ROLES), "<|assistant|>\n", bos=""),
}

# Marks by which a model's own template is known, the more special first.
_MARKS: list[tuple[str, tuple[str, ...]]] = [
    ("phi4", ("<|im_start|>", "<|im_sep|>")),
    ("chatml", ("<|im_start|>",)),
    ("llama4", ("<|header_start|>",)),
    ("llama3", ("<|start_header_id|>", "<|end_header_id|>")),
    ("mistral-v7-tekken", ("[SYSTEM_PROMPT]",)),
    ("llama2", ("[INST]", "<<SYS>>")),
    ("mistral-v3", ("[INST]",)),
    ("gemma", ("<start_of_turn>",)),
    ("phi3", ("<|assistant|>", "<|end|>")),
    ("zephyr", ("<|assistant|>", "eos_token")),
    ("deepseek3", (f"<{_BAR}Assistant{_BAR}>",)),
    ("deepseek", ("### Instruction:", "<|EOT|>")),
    ("deepseek2", ("'Assistant: '",)),
    ("command-r", ("<|START_OF_TURN_TOKEN|>",)),
    ("granite", ("<|start_of_role|>",)),
    ("openchat", ("GPT4 Correct",)),
    ("vicuna", ("USER: ", "ASSISTANT: ")),
]


def is_source(given: str) -> bool:
    """Whether it is a template, rather than the name of one."""
    return "{%" in given or "{{" in given


def check(given: str | None) -> None:
    """TemplateRejected for a name that nobody knows; a template itself is compiled when the model is there."""
    if given is not None and not is_source(given) and given not in BUILT_IN:
        names = ", ".join(BUILT_IN)
        raise TemplateRejected(f"--chat-template must be a file, Jinja, or one of {names}, not {given[:80]!r}")


def choose(given: str | None, own: str | None, jinja: bool) -> str:
    """The template of a server: what the flag says, else the model's own; without jinja the built-in one that has its
    marks.  TemplateRejected where there is none."""
    if given is not None:
        check(given)
        return given if is_source(given) else BUILT_IN[given]
    if not own:
        raise TemplateRejected("this model has no chat template: the server was started without --chat-template")
    if jinja:
        return own
    for name, marks in _MARKS:
        if all(mark in own for mark in marks):
            return BUILT_IN[name]
    raise TemplateRejected("--no-jinja: the model's chat template has the marks of no built-in one")

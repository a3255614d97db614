"""Built-in chat templates.

Each is put together from what stands before and after a message of each role; the sources are the model makers' own
descriptions of their formats.  They are Jinja like a model's own, so that all that holds for those holds for these.
"""

from __future__ import annotations

import json
import re

BAR = "\uff5c"  # the bars in DeepSeek's and Hunyuan's tokens are full-width
_COLON = "\uff1a"  # as in Chinese text

Turns = dict[str, tuple[str, str]]  # role -> what stands around its messages; {bos} and {eos} are those tokens

_BOS = "{{ bos_token }}"
_OTHER_ROLE = "{% else %}{{ raise_exception('the role ' ~ m['role'] ~ ' is not in this template') }}{% endif %}"


def _literal(words: str) -> str:
    return json.dumps(words, ensure_ascii=False)


def _text(words: str) -> str:
    """A piece of template that shows these words."""
    parts = re.split(r"\{(bos|eos)\}", words)  # words and names of tokens in turns
    shown = (f"{part}_token" if index % 2 else _literal(part) for index, part in enumerate(parts) if part)
    return "".join("{{ " + expression + " }}" for expression in shown)


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
_LOUD = {"system": "SYSTEM", "user": "HUMAN", "assistant": "ASSISTANT"}
_EXAONE = {
    "system": ("[|system|]", "[|endofturn|]\n"),
    "user": ("[|user|]", "\n"),
    "assistant": ("[|assistant|]", "[|endofturn|]\n"),
}
_LLAMA2_SYSTEM = ("<<SYS>>\n", "\n<</SYS>>\n\n")
_GRANITE = _plain(
    _same("<|start_of_role|>ROLE<|end_of_role|>", "<|end_of_text|>\n", _ROLES),
    "<|start_of_role|>assistant<|end_of_role|>",
    bos="",
)


def _hunyuan(name: str) -> str:
    return f"<{BAR}hy_{name}{BAR}>"


BUILT_IN: dict[str, str] = {
    "bailing": _plain(_same("<role>ROLE</role>", "", _LOUD), "<role>ASSISTANT</role>", bos=""),
    "bailing-think": _plain(_same("<role>ROLE</role>", "", _LOUD), "<role>ASSISTANT</role><think>", bos=""),
    "bailing2": _plain(_same("<role>ROLE</role>", "<|role_end|>", _LOUD), "<role>ASSISTANT</role>", bos=""),
    "chatglm3": _plain(_same("<|ROLE|>\n ", "", _ROLES), "<|assistant|>", bos="[gMASK]sop"),
    "chatglm4": _plain(_same("<|ROLE|>\n", "", _ROLES), "<|assistant|>\n", bos="[gMASK]<sop>"),
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
    "deepseek-ocr": _plain(_same("", "", _ROLES)),
    "deepseek2": _plain(
        {"system": ("", "\n\n"), "user": ("User: ", "\n\n"), "assistant": ("Assistant: ", "{eos}")}, "Assistant:"
    ),
    "deepseek3": _plain(
        {
            "system": ("", ""),
            "user": (f"<{BAR}User{BAR}>", ""),
            "assistant": (f"<{BAR}Assistant{BAR}>", f"<{BAR}end▁of▁sentence{BAR}>"),
        },
        f"<{BAR}Assistant{BAR}>",
    ),
    "exaone-moe": _plain(_same("<|ROLE|>\n", "<|endofturn|>\n", _ROLES), "<|assistant|>\n", bos=""),
    "exaone3": _plain(_EXAONE, "[|assistant|]", bos=""),
    "exaone4": _plain({**_EXAONE, "tool": ("[|tool|]", "[|endofturn|]\n")}, "[|assistant|]", bos=""),
    "falcon3": _plain(_same("<|ROLE|>\n", "\n", _ROLES), "<|assistant|>\n", bos=""),
    "gemma": _merged(
        _same("<start_of_turn>ROLE\n", "<end_of_turn>\n", {"user": "user", "assistant": "model"}),
        "<start_of_turn>model\n",
    ),
    "gigachat": _plain(
        {
            "system": ("", "<|message_sep|>"),
            "user": ("user<|role_sep|>", "<|message_sep|>available functions<|role_sep|>[]<|message_sep|>"),
            "assistant": ("assistant<|role_sep|>", "<|message_sep|>"),
        },
        "assistant<|role_sep|>",
    ),
    "glmedge": _plain(_same("<|ROLE|>\n", "", _ROLES), "<|assistant|>", bos=""),
    "gpt-oss": _plain(
        {
            **_same("<|start|>ROLE<|message|>", "<|end|>", _ROLES),
            "assistant": ("<|start|>assistant<|channel|>final<|message|>", "<|end|>"),
        },
        "<|start|>assistant",
        bos="",
    ),
    "granite": _GRANITE,
    "granite-4.0": _GRANITE,
    "granite-4.1": _GRANITE,
    "grok-2": _plain(
        _same("ROLE: ", "<|separator|>\n\n", {"system": "System", "user": "Human", "assistant": "Assistant"}),
        "Assistant:",
        bos="",
    ),
    "hunyuan-dense": _plain(
        {
            "system": ("", _hunyuan("place▁holder▁no▁3")),
            "user": (_hunyuan("User"), ""),
            "assistant": (_hunyuan("Assistant"), _hunyuan("place▁holder▁no▁2")),
        },
        _hunyuan("Assistant"),
        bos=_hunyuan("begin▁of▁sentence"),
    ),
    "hunyuan-moe": _plain(
        {
            "system": ("<|startoftext|>", "<|extra_4|>"),
            "user": ("<|startoftext|>", "<|extra_0|>"),
            "assistant": ("", "<|eos|>"),
        },
        bos="",
    ),
    "hunyuan-vl": _plain(
        {
            "system": ("", _hunyuan("place▁holder▁no▁3")),
            "user": ("", _hunyuan("User")),
            "assistant": ("", _hunyuan("Assistant")),
        },
        bos=_hunyuan("begin▁of▁sentence"),
    ),
    "kimi-k2": _plain(
        {
            **_same("<|im_ROLE|>ROLE<|im_middle|>", "<|im_end|>", _ROLES),
            "tool": ("<|im_system|>tool<|im_middle|>", "<|im_end|>"),
        },
        "<|im_assistant|>assistant<|im_middle|>",
        bos="",
    ),
    "llama2": _merged(
        {"user": ("{bos}[INST] ", " [/INST]"), "assistant": (" ", " {eos}")},
        system=_LLAMA2_SYSTEM,
        bos="",
    ),
    "llama2-sys": _merged({"user": ("[INST] ", " [/INST]"), "assistant": ("", "{eos}")}, system=_LLAMA2_SYSTEM),
    "llama2-sys-bos": _merged(
        {"user": ("{bos}[INST] ", " [/INST]"), "assistant": ("", "{eos}")}, system=_LLAMA2_SYSTEM, bos=""
    ),
    "llama2-sys-strip": _merged({"user": ("[INST] ", " [/INST]"), "assistant": ("", "{eos}")}, system=_LLAMA2_SYSTEM),
    "llama3": _plain(
        _same("<|start_header_id|>ROLE<|end_header_id|>\n\n", "<|eot_id|>", _ROLES),
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "llama4": _plain(
        _same("<|header_start|>ROLE<|header_end|>\n\n", "<|eot|>", _ROLES),
        "<|header_start|>assistant<|header_end|>\n\n",
    ),
    "megrez": _plain(
        _same("<|role_start|>ROLE<|role_end|>", "<|turn_end|>", _ROLES), "<|role_start|>assistant<|role_end|>", bos=""
    ),
    "minicpm": _plain({"system": ("", ""), "user": ("<用户>", "<AI>"), "assistant": ("", "")}, bos=""),
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
    "monarch": _plain(_same("{bos}ROLE\n", "{eos}\n", _ROLES), "{bos}assistant\n", bos=""),
    "openchat": _plain(
        {
            "system": ("", "<|end_of_turn|>"),
            "user": ("GPT4 Correct User: ", "<|end_of_turn|>"),
            "assistant": ("GPT4 Correct Assistant: ", "<|end_of_turn|>"),
        },
        "GPT4 Correct Assistant:",
    ),
    "orion": _merged({"user": ("Human: ", "\n\nAssistant: {eos}"), "assistant": ("", "{eos}")}),
    "pangu-embedded": _plain(
        _same(
            f"[unused9]ROLE{_COLON}",
            "[unused10]",
            {"system": "系统", "user": "用户", "assistant": "助手", "tool": "工具"},
        ),
        f"[unused9]助手{_COLON}",
        bos="{{ bos_token }}{% if not messages or messages[0]['role'] != 'system' %}"
        f"[unused9]系统{_COLON}[unused10]{{% endif %}}",
    ),
    "phi3": _plain(_same("<|ROLE|>\n", "<|end|>\n", _ROLES), "<|assistant|>\n"),
    "phi4": _plain(_same("<|im_start|>ROLE<|im_sep|>", "<|im_end|>", _ROLES), "<|im_start|>assistant<|im_sep|>", ""),
    "rwkv-world": _plain(
        _same("ROLE: ", "\n\n", {"system": "System", "user": "User", "assistant": "Assistant"}), "Assistant:", bos=""
    ),
    "seed_oss": _plain(_same("<seed:bos>ROLE\n", "<seed:eos>", _ROLES), "<seed:bos>assistant\n", bos=""),
    "smolvlm": _plain(
        {
            "system": ("", "\n\n"),
            "user": ("User: ", "<end_of_utterance>\n"),
            "assistant": ("Assistant: ", "<end_of_utterance>\n"),
        },
        "Assistant:",
        bos="<|im_start|>",
    ),
    "solar-open": _plain(_same("<|begin|>ROLE<|content|>", "<|end|>", _ROLES), "<|begin|>assistant", bos=""),
    "vicuna": _plain(
        {"system": ("", " "), "user": ("USER: ", " "), "assistant": ("ASSISTANT: ", "{eos}")}, "ASSISTANT:"
    ),
    "vicuna-orca": _plain(
        {"system": ("SYSTEM: ", "\n"), "user": ("USER: ", "\n"), "assistant": ("ASSISTANT: ", "{eos}\n")}, "ASSISTANT:"
    ),
    "yandex": _plain({"user": (" Пользователь: ", "\n\n"), "assistant": (" Ассистент: ", "\n\n")}, " Ассистент:[SEP]"),
    "zephyr": _plain(_same("<|ROLE|>\n", "{eos}\n", _ROLES), "<|assistant|>\n", bos=""),
}

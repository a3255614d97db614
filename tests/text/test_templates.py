"""Built-in templates against what their makers' formats look like, and which template a server takes."""

# ruff: noqa: E501 (formats are long)
from __future__ import annotations

import pytest

from llamatw.errors import TemplateRejected
from llamatw.text.chat import ChatTemplate, Message
from llamatw.text.templates import BUILT_IN, check, choose

TURNS = [Message("system", "S"), Message("user", " hi "), Message("assistant", "yo"), Message("user", "q")]
BAR = "\uff5c"

RENDERED = {
    "chatml": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyo<|im_end|>\n"
    "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n",
    "command-r": "<s><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>S<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>hi"
    "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>yo<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|>"
    "<|USER_TOKEN|>q<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    "deepseek": "<s>S\n### Instruction:\nhi\n### Response:\nyo\n<|EOT|>\n### Instruction:\nq\n### Response:\n",
    "deepseek2": "<s>S\n\nUser: hi\n\nAssistant: yo</s>User: q\n\nAssistant:",
    "deepseek3": f"<s>S<{BAR}User{BAR}>hi<{BAR}Assistant{BAR}>yo<{BAR}end▁of▁sentence{BAR}><{BAR}User{BAR}>q"
    f"<{BAR}Assistant{BAR}>",
    "gemma": "<s><start_of_turn>user\nS\n\nhi<end_of_turn>\n<start_of_turn>model\nyo<end_of_turn>\n<start_of_turn>user\nq"
    "<end_of_turn>\n<start_of_turn>model\n",
    "granite": "<|start_of_role|>system<|end_of_role|>S<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>hi"
    "<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>yo<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>q"
    "<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
    "llama2": "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nhi [/INST] yo </s><s>[INST] q [/INST]",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nhi"
    "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nyo<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nq"
    "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "llama4": "<s><|header_start|>system<|header_end|>\n\nS<|eot|><|header_start|>user<|header_end|>\n\nhi<|eot|>"
    "<|header_start|>assistant<|header_end|>\n\nyo<|eot|><|header_start|>user<|header_end|>\n\nq<|eot|>"
    "<|header_start|>assistant<|header_end|>\n\n",
    "mistral-v1": "<s> [INST] S\n\nhi [/INST] yo</s> [INST] q [/INST]",
    "mistral-v3": "<s>[INST] S\n\nhi[/INST] yo</s>[INST] q[/INST]",
    "mistral-v3-tekken": "<s>[INST]S\n\nhi[/INST]yo</s>[INST]q[/INST]",
    "mistral-v7": "<s>[SYSTEM_PROMPT] S[/SYSTEM_PROMPT][INST] hi[/INST] yo</s>[INST] q[/INST]",
    "mistral-v7-tekken": "<s>[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]hi[/INST]yo</s>[INST]q[/INST]",
    "openchat": "<s>S<|end_of_turn|>GPT4 Correct User: hi<|end_of_turn|>GPT4 Correct Assistant: yo<|end_of_turn|>"
    "GPT4 Correct User: q<|end_of_turn|>GPT4 Correct Assistant:",
    "phi3": "<s><|system|>\nS<|end|>\n<|user|>\nhi<|end|>\n<|assistant|>\nyo<|end|>\n<|user|>\nq<|end|>\n<|assistant|>\n",
    "phi4": "<|im_start|>system<|im_sep|>S<|im_end|><|im_start|>user<|im_sep|>hi<|im_end|><|im_start|>assistant<|im_sep|>yo"
    "<|im_end|><|im_start|>user<|im_sep|>q<|im_end|><|im_start|>assistant<|im_sep|>",
    "vicuna": "<s>S USER: hi ASSISTANT: yo</s>USER: q ASSISTANT:",
    "zephyr": "<|system|>\nS</s>\n<|user|>\nhi</s>\n<|assistant|>\nyo</s>\n<|user|>\nq</s>\n<|assistant|>\n",
}


def template(source: str) -> ChatTemplate:
    return ChatTemplate(source, bos="<s>", eos="</s>")


def test_every_built_in_one_is_here() -> None:
    assert RENDERED.keys() == BUILT_IN.keys()


@pytest.mark.parametrize("name", BUILT_IN)
def test_rendered(name: str) -> None:
    made = template(BUILT_IN[name])
    rendered = made.render(TURNS)
    assert rendered.text == RENDERED[name]
    assert rendered.pieces is not None, "messages can be told from the template's own words"
    assert made.abilities["supports_system_role"] and made.abilities["supports_string_content"]
    assert not made.abilities["supports_tools"]


def test_a_role_that_it_does_not_know() -> None:
    with pytest.raises(TemplateRejected, match="the role tool is not in this template"):
        template(BUILT_IN["llama3"]).render([Message("tool", "x")])


@pytest.mark.parametrize(
    "name", ["chatml", "llama3", "gemma", "phi3", "phi4", "deepseek3", "command-r", "granite", "zephyr"]
)
def test_recognised_by_its_marks(name: str) -> None:
    assert choose(None, BUILT_IN[name], jinja=False) == BUILT_IN[name]


def test_choice() -> None:
    own = "{{ messages }}"
    assert choose(None, own, jinja=True) == own
    assert choose("chatml", own, jinja=True) == BUILT_IN["chatml"]
    assert choose("{{ 1 }}", own, jinja=False) == "{{ 1 }}"
    for given, model, jinja in ((None, None, True), (None, own, False), ("nope", own, True)):
        with pytest.raises(TemplateRejected):
            choose(given, model, jinja)
    check(None)
    with pytest.raises(TemplateRejected, match=r"one of chatml, .*, not 'nope'"):
        check("nope")


def test_abilities() -> None:
    tools = (
        "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}"
        "{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}"
        "{% for c in m.tool_calls %}{{ c.function.name }}{% endfor %}{{ m.reasoning_content }}{% endfor %}"
    )
    assert all(template(tools).abilities.values())
    nothing = template("{{ 'x' }}")
    assert not any(nothing.abilities.values())
    shown_as_python = template("{% for m in messages %}{{ m.content }}{% endfor %}")
    assert shown_as_python.abilities["supports_typed_content"] is False


def test_a_costly_template_is_asked_once() -> None:
    slow = template("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}")
    assert not any(slow.abilities.values())

"""Built-in templates against what their makers' formats look like, and which template a server takes."""

# ruff: noqa: E501, RUF001 (formats are long, some in other scripts)
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
    "bailing": "<role>SYSTEM</role>S<role>HUMAN</role>hi<role>ASSISTANT</role>yo<role>HUMAN</role>q<role>ASSISTANT</role>",
    "bailing-think": "<role>SYSTEM</role>S<role>HUMAN</role>hi<role>ASSISTANT</role>yo<role>HUMAN</role>q<role>ASSISTANT</role><think>",
    "bailing2": "<role>SYSTEM</role>S<|role_end|><role>HUMAN</role>hi<|role_end|><role>ASSISTANT</role>yo<|role_end|><role>HUMAN</role>q<|role_end|><role>ASSISTANT</role>",
    "chatglm3": "[gMASK]sop<|system|>\n S<|user|>\n hi<|assistant|>\n yo<|user|>\n q<|assistant|>",
    "chatglm4": "[gMASK]<sop><|system|>\nS<|user|>\nhi<|assistant|>\nyo<|user|>\nq<|assistant|>\n",
    "deepseek-ocr": "<s>Shiyoq",
    "exaone-moe": "<|system|>\nS<|endofturn|>\n<|user|>\nhi<|endofturn|>\n<|assistant|>\nyo<|endofturn|>\n<|user|>\nq<|endofturn|>\n<|assistant|>\n",
    "exaone3": "[|system|]S[|endofturn|]\n[|user|]hi\n[|assistant|]yo[|endofturn|]\n[|user|]q\n[|assistant|]",
    "exaone4": "[|system|]S[|endofturn|]\n[|user|]hi\n[|assistant|]yo[|endofturn|]\n[|user|]q\n[|assistant|]",
    "falcon3": "<|system|>\nS\n<|user|>\nhi\n<|assistant|>\nyo\n<|user|>\nq\n<|assistant|>\n",
    "gigachat": "<s>S<|message_sep|>user<|role_sep|>hi<|message_sep|>available functions<|role_sep|>[]<|message_sep|>assistant<|role_sep|>yo<|message_sep|>user<|role_sep|>q<|message_sep|>available functions<|role_sep|>[]<|message_sep|>assistant<|role_sep|>",
    "glmedge": "<|system|>\nS<|user|>\nhi<|assistant|>\nyo<|user|>\nq<|assistant|>",
    "gpt-oss": "<|start|>system<|message|>S<|end|><|start|>user<|message|>hi<|end|><|start|>assistant<|channel|>final<|message|>yo<|end|><|start|>user<|message|>q<|end|><|start|>assistant",
    "granite-4.0": "<|start_of_role|>system<|end_of_role|>S<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>hi<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>yo<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>q<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
    "granite-4.1": "<|start_of_role|>system<|end_of_role|>S<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>hi<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>yo<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>q<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
    "grok-2": "System: S<|separator|>\n\nHuman: hi<|separator|>\n\nAssistant: yo<|separator|>\n\nHuman: q<|separator|>\n\nAssistant:",
    "hunyuan-dense": "<｜hy_begin▁of▁sentence｜>S<｜hy_place▁holder▁no▁3｜><｜hy_User｜>hi<｜hy_Assistant｜>yo<｜hy_place▁holder▁no▁2｜><｜hy_User｜>q<｜hy_Assistant｜>",
    "hunyuan-moe": "<|startoftext|>S<|extra_4|><|startoftext|>hi<|extra_0|>yo<|eos|><|startoftext|>q<|extra_0|>",
    "hunyuan-vl": "<｜hy_begin▁of▁sentence｜>S<｜hy_place▁holder▁no▁3｜>hi<｜hy_User｜>yo<｜hy_Assistant｜>q<｜hy_User｜>",
    "kimi-k2": "<|im_system|>system<|im_middle|>S<|im_end|><|im_user|>user<|im_middle|>hi<|im_end|><|im_assistant|>assistant<|im_middle|>yo<|im_end|><|im_user|>user<|im_middle|>q<|im_end|><|im_assistant|>assistant<|im_middle|>",
    "llama2-sys": "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nhi [/INST]yo</s>[INST] q [/INST]",
    "llama2-sys-bos": "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nhi [/INST]yo</s><s>[INST] q [/INST]",
    "llama2-sys-strip": "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nhi [/INST]yo</s>[INST] q [/INST]",
    "megrez": "<|role_start|>system<|role_end|>S<|turn_end|><|role_start|>user<|role_end|>hi<|turn_end|><|role_start|>assistant<|role_end|>yo<|turn_end|><|role_start|>user<|role_end|>q<|turn_end|><|role_start|>assistant<|role_end|>",
    "minicpm": "S<用户>hi<AI>yo<用户>q<AI>",
    "monarch": "<s>system\nS</s>\n<s>user\nhi</s>\n<s>assistant\nyo</s>\n<s>user\nq</s>\n<s>assistant\n",
    "orion": "<s>Human: S\n\nhi\n\nAssistant: </s>yo</s>Human: q\n\nAssistant: </s>",
    "pangu-embedded": "<s>[unused9]系统：S[unused10][unused9]用户：hi[unused10][unused9]助手：yo[unused10][unused9]用户：q[unused10][unused9]助手：",
    "rwkv-world": "System: S\n\nUser: hi\n\nAssistant: yo\n\nUser: q\n\nAssistant:",
    "seed_oss": "<seed:bos>system\nS<seed:eos><seed:bos>user\nhi<seed:eos><seed:bos>assistant\nyo<seed:eos><seed:bos>user\nq<seed:eos><seed:bos>assistant\n",
    "smolvlm": "<|im_start|>S\n\nUser: hi<end_of_utterance>\nAssistant: yo<end_of_utterance>\nUser: q<end_of_utterance>\nAssistant:",
    "solar-open": "<|begin|>system<|content|>S<|end|><|begin|>user<|content|>hi<|end|><|begin|>assistant<|content|>yo<|end|><|begin|>user<|content|>q<|end|><|begin|>assistant",
    "vicuna-orca": "<s>SYSTEM: S\nUSER: hi\nASSISTANT: yo</s>\nUSER: q\nASSISTANT:",
    "yandex": "<s> Пользователь: hi\n\n Ассистент: yo\n\n Пользователь: q\n\n Ассистент:[SEP]",
}


NO_SYSTEM = {"yandex"}


def template(source: str) -> ChatTemplate:
    return ChatTemplate(source, bos="<s>", eos="</s>")


def test_every_built_in_one_is_here() -> None:
    assert RENDERED.keys() == BUILT_IN.keys()


@pytest.mark.parametrize("name", BUILT_IN)
def test_rendered(name: str) -> None:
    made = template(BUILT_IN[name])
    speaks = name not in NO_SYSTEM
    rendered = made.render(TURNS if speaks else TURNS[1:])
    assert rendered.text == RENDERED[name]
    assert rendered.pieces is not None, "messages can be told from the template's own words"
    assert [ability for ability, found in made.abilities.items() if found] == [
        "supports_string_content",
        *["supports_system_role"] * speaks,
    ]


def test_a_role_that_it_does_not_know() -> None:
    with pytest.raises(TemplateRejected, match="the role tool is not in this template"):
        template(BUILT_IN["llama3"]).render([Message("tool", "x")])


@pytest.mark.parametrize(
    "name",
    "bailing bailing2 chatglm4 chatml command-r deepseek3 exaone3 gemma gigachat gpt-oss granite grok-2 hunyuan-dense "
    "hunyuan-moe kimi-k2 llama3 megrez minicpm pangu-embedded phi3 phi4 seed_oss smolvlm solar-open zephyr".split(),
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
    with pytest.raises(TemplateRejected, match=r"one of bailing, .*, not 'nope'"):
        check("nope")


def test_abilities() -> None:
    tools = (
        "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}"
        "{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}"
        "{% for c in m.tool_calls %}{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}"
        "{{ m.reasoning_content }}{% endfor %}{{ reasoning_effort }}"
    )
    assert all(template(tools).abilities.values())
    nothing = template("{{ 'x' }}")
    assert not any(nothing.abilities.values())
    shown_as_python = template("{% for m in messages %}{{ m.content }}{% endfor %}")
    assert shown_as_python.abilities["supports_typed_content"] is False


def test_a_costly_template_is_asked_once() -> None:
    slow = template("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}")
    assert not any(slow.abilities.values())

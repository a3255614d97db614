"""Routes of both dialects on a real server: text completions, infill with a model that has the tokens, prefill."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests import gguf_bytes
from tests.live_server import Server, serving

PRE, SUF, MID, REP = 7, 8, 9, 4  # <gh_stars> <issue_start> <issue_comment>, and <reponame>, which is known by its text
GREEDY = {"temperature": 0, "n_predict": 12, "cache_prompt": False}
MESSAGES = [{"role": "user", "content": "What is 2+2?"}]


@pytest.fixture(scope="module")
def server(tmp_path_factory, engine_library, smollm2) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    ids = {"fim_pre_token_id": PRE, "fim_suf_token_id": SUF, "fim_mid_token_id": MID}
    pairs = [gguf_bytes.u32(f"tokenizer.ggml.{key}", id) for key, id in ids.items()]
    model = gguf_bytes.with_pairs(smollm2, directory / "model.gguf", pairs)
    with serving(directory, "-m", str(model), "-c", "2048", "--props", "-a", "small") as server:
        server.wait_for_health(200)
        yield server
        assert "Traceback" not in server.log.read_text()


def ok(server: Server, path: str, body: dict[str, Any]) -> Any:
    status, answer = server.ask("POST", path, body)
    assert status == 200, answer
    return answer


def tokens(server: Server, text: str) -> list[int]:
    ids: list[int] = ok(server, "/tokenize", {"content": text, "parse_special": False})["tokens"]
    return ids


def test_infill_is_a_completion_of_the_tokens(server):
    got = ok(server, "/infill", {**GREEDY, "input_prefix": "def f(", "input_suffix": "):\n    return 1\n"})
    repository = [REP, *tokens(server, "myproject\n")]
    ids = [*repository, PRE, *tokens(server, "def f("), SUF, *tokens(server, "):\n    return 1\n"), MID]
    want = ok(server, "/completion", {**GREEDY, "prompt": ids})
    assert got["content"] == want["content"] and got["tokens_evaluated"] == len(ids)
    text = ok(
        server, "/v1/completions", {**GREEDY, "prompt": "def f(", "suffix": "):\n    return 1\n", "repeat_penalty": 1.1}
    )
    assert text["choices"][0]["text"] == want["content"]


def test_no_infill_without_the_tokens(tmp_path, engine_library, smollm2):
    with serving(tmp_path, "-m", str(smollm2), "-c", "512") as server:
        server.wait_for_health(200)
        for path, body in (("/infill", {"input_prefix": "a"}), ("/v1/completions", {"prompt": "a", "suffix": "b"})):
            status, answer = server.ask("POST", path, body)
            assert (status, answer["error"]["type"]) == (501, "not_supported_error")
            assert "prefix, suffix, middle" in answer["error"]["message"]
            assert answer["error"]["param"] == ("suffix" if "suffix" in body else None)


def test_text_completions_with_openais_client(server):
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0) as client:
        wish = {"model": "small", "prompt": ["Once upon a time", "The capital of France is"], "temperature": 0}
        whole = client.completions.create(**wish, max_tokens=8)
        want = [
            ok(server, "/completion", {"prompt": prompt, "n_predict": 8, "temperature": 0, "repeat_penalty": 1})
            for prompt in wish["prompt"]
        ]
        assert [choice.text for choice in whole.choices] == [answer["content"] for answer in want]
        assert whole.usage.prompt_tokens == sum(answer["tokens_evaluated"] for answer in want)
        texts = ["", ""]
        for chunk in client.completions.create(**wish, max_tokens=8, stream=True, extra_body={"return_progress": True}):
            for choice in chunk.choices:
                texts[choice.index] += choice.text
        assert texts == [choice.text for choice in whole.choices]
        assert client.models.retrieve("small").id == "small"


def test_prefill_goes_on_where_the_text_ends(server):
    turns = [*MESSAGES, {"role": "assistant", "content": "2+2 is"}]
    prompt = ok(server, "/apply-template", {"messages": turns})["prompt"]
    assert prompt.endswith("<|im_start|>assistant\n2+2 is")
    chat = ok(server, "/v1/chat/completions", {"messages": turns, **GREEDY})
    want = ok(server, "/completion", {**GREEDY, "prompt": prompt, "repeat_penalty": 1})
    assert chat["choices"][0]["message"]["content"] == want["content"]
    counted = ok(server, "/v1/chat/completions/input_tokens", {"messages": turns})
    assert counted["input_tokens"] == chat["usage"]["prompt_tokens"] == want["tokens_evaluated"]


def test_progress_of_a_long_prompt(server):
    events = server.stream({"prompt": [5] * 1500, "n_predict": 1, "cache_prompt": False, "return_progress": True})
    seen = [event["prompt_progress"] for event in events if "prompt_progress" in event]
    done = [progress["processed"] for progress in seen]
    assert done[0] == 0 and done[-1] == 1500 and done == sorted(set(done)) and len(done) >= 4
    assert seen[0]["time_ms"] == 0 < seen[-1]["time_ms"] <= events[-1]["timings"]["prompt_ms"]


def test_props_and_models(server):
    props = server.ask("GET", "/props")[1]
    assert (props["model_ftype"], props["endpoint_props"]) == ("Q4_1", True)
    (model,) = server.ask("GET", "/v1/models")[1]["data"]
    assert (model["meta"]["ftype"], model["meta"]["vocab_type"]) == ("Q4_1", 2)
    before = ok(server, "/completion", {**GREEDY, "prompt": "Hi"})["tokens_evaluated"]
    ok(server, "/props", {"system_prompt": "Be nice. "})
    n_system = len(tokens(server, "Be nice. "))
    assert ok(server, "/completion", {**GREEDY, "prompt": "Hi"})["tokens_evaluated"] == before + n_system
    ok(server, "/props", {"system_prompt": ""})

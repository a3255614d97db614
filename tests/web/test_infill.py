"""/infill: prompts around a hole."""

from __future__ import annotations

import msgspec
import pytest

from llamatw.web import fim

BOS, PRE, SUF, MID, REP, SEP = 256, 1, 2, 3, 4, 5
IDS = {"fim_pre_token_id": PRE, "fim_suf_token_id": SUF, "fim_mid_token_id": MID}
REPOSITORY = {"fim_rep_token_id": REP, "fim_sep_token_id": SEP}


def teach(server, **ids):
    """The fake model gets tokens."""
    model = server.service._model
    known = {f"tokenizer.ggml.{key}": id for key, id in ids.items()}
    server.service._model = msgspec.structs.replace(model, metadata={**model.metadata, **known})


def seen_prompts(server):
    seen = []
    submit = server.service.submit
    server.service.submit = lambda prompt, *more: (seen.append(prompt), submit(prompt, *more))[1]
    return seen


def infill(server, **body):
    seen = seen_prompts(server)
    reply = server.post("/infill", {"n_predict": 2, **body})
    assert reply.status == 200, reply.body
    return seen[0]


def test_prefix_suffix_middle(server):
    teach(server, **IDS)
    assert infill(server, input_prefix="ab", input_suffix="cd") == [BOS, PRE, *b"ab", SUF, *b"cd", MID]
    assert infill(server, input_prefix="ab", prompt="+", input_suffix="cd")[:6] == [BOS, PRE, *b"ab+", SUF]
    assert infill(server) == [BOS, PRE, SUF, MID]
    assert infill(server, input_prefix=["a", 9], input_suffix=[8, "b"]) == [BOS, PRE, *b"a", 9, SUF, 8, *b"b", MID]


def test_suffix_first(make_server):
    server = make_server(spm_infill=True)
    teach(server, **IDS)
    assert infill(server, input_prefix="ab", input_suffix="cd") == [BOS, SUF, *b"cd", PRE, *b"ab", MID]


def test_other_files(server):
    teach(server, **IDS)
    extra = [{"filename": "f.py", "text": "x"}, {"text": "y"}]
    cut = b"\n\n--- snippet ---\n\n"
    got = infill(server, input_prefix="a", input_extra=extra)
    assert got == [BOS, *cut, *b"x", *cut, *b"y", PRE, *b"a", SUF, MID]
    teach(server, **REPOSITORY)
    repository = [BOS, REP, *b"myproject\n"]
    file = [SEP, *b"filename\n"]
    got = infill(server, input_prefix="a", input_extra=extra)
    assert got == [*repository, SEP, *b"f.py\nx", SEP, *b"tmp\ny", *file, PRE, *b"a", SUF, MID]
    assert infill(server, input_prefix="a") == [*repository, *file, PRE, *b"a", SUF, MID]


def test_texts_are_no_control_tokens(server):
    teach(server, **IDS)
    got = infill(server, input_prefix="<s>", input_suffix="</s>", input_extra=[{"text": "<|im_end|>"}])
    assert [token for token in got if token >= 256] == [BOS]


def test_the_system_prompt_stands_in_front(server):
    teach(server, **IDS)
    got = infill(server, input_prefix="a", system_prompt={"prompt": "S"})
    assert got == [BOS, *b"S", PRE, *b"a", SUF, MID]


def test_a_space_that_the_vocabulary_adds(server):
    teach(server, **IDS)
    model = server.service._model
    metadata = {**model.metadata, "tokenizer.ggml.model": "llama"}
    server.service._model = msgspec.structs.replace(model, metadata=metadata)
    assert infill(server, input_prefix=" a", input_suffix=" b") == [BOS, PRE, *b" a", SUF, *b"b", MID]


def test_answer_is_native(server):
    teach(server, **IDS)
    server.engine.say = "middle"
    answer = server.post("/infill", {"input_prefix": "a", "input_suffix": "b", "prompt": "p"}).json
    assert (answer["content"], answer["stop_type"], answer["prompt"]) == ("middle", "eos", "p")
    assert answer["generation_settings"]["repeat_penalty"] == 1.1
    events = server.post("/infill", {"input_prefix": "a", "input_suffix": "b", "stream": True}).events
    assert "".join(event["content"] for event in events) == "middle" and events[-1]["stop"]
    assert len(server.post("/infill", {"input_prefix": "a", "n": 2}).json) == 2


def test_indented_lines(server):
    teach(server, **IDS)
    server.engine.say = "x = 1\n    y = 2\nz = 3\n"
    body = {"input_prefix": "def f():\n    ", "n_indent": 4}
    answer = server.post("/infill", body).json
    assert (answer["content"], answer["stop_type"]) == ("x = 1\n    y = 2\n", "limit")
    events = server.post("/infill", {**body, "stream": True}).events
    assert "".join(event["content"] for event in events) == answer["content"]
    assert server.n_busy == 0


@pytest.mark.parametrize("lacking", sorted(IDS))
def test_a_model_without_the_tokens(server, lacking):
    teach(server, **{key: id for key, id in IDS.items() if key != lacking})
    message = server.post("/infill", {"input_prefix": "a", "input_suffix": "b"}).error(501)["message"]
    place = {"fim_pre_token_id": "prefix", "fim_suf_token_id": "suffix", "fim_mid_token_id": "middle"}[lacking]
    assert message.endswith(f"no FIM token for {place}")


@pytest.mark.parametrize("id", [-1, 260, True, "1", 1.0])
def test_ids_of_a_file_that_lies(server, id):
    teach(server, **{**IDS, "fim_mid_token_id": id})
    server.post("/infill", {"input_prefix": "a"}).error(501)


def test_old_keys(server):
    teach(server, prefix_token_id=PRE, suffix_token_id=SUF, middle_token_id=MID)
    assert infill(server, input_prefix="a") == [BOS, PRE, *b"a", SUF, MID]


def test_tokens_known_by_their_texts(server):
    special = {"<PRE>": 11, "<fim-suffix>": 12, "<\uff5cfim\u2581end\uff5c>": 13, "<|file_sep|>": 14}

    def tokenize(text, *, add_special, parse_special):
        return [special[text]] if parse_special and text in special else list(text.encode())

    tokens = fim.find_tokens(server.service.info, tokenize)
    assert msgspec.structs.astuple(tokens) == (11, 12, 13, None, 14)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_prefix", 5),
        ("input_prefix", {}),
        ("input_prefix", [True]),
        ("input_prefix", [[1]]),
        ("input_prefix", [260]),
        ("input_suffix", [-1]),
        ("input_suffix", False),
        ("input_extra", {}),
        ("input_extra", ["x"]),
        ("input_extra", [{"text": 5}]),
        ("input_extra", [{"filename": None}]),
        ("input_extra", [{}] * 5000),
        ("prompt", [260]),
        ("prompt", [["a"], ["b"]]),
    ],
)
def test_bad_fields(server, field, value):
    teach(server, **IDS)
    server.post("/infill", {field: value}).error(400, field)


def test_too_long(server):
    teach(server, **IDS)
    error = server.post("/infill", {"input_prefix": "a" * 1000, "input_suffix": "b" * 1000}).error(400, "prompt")
    assert error["type"] == "exceed_context_size_error"

"""Every sampler's setting, in every form, from the body to the engine and back in `generation_settings`."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from llamatw.capi.records import SAMPLERS, SamplingParams
from llamatw.engine.sequence import GenerationParams
from llamatw.web import reply
from llamatw.web.words import Words

N_VOCAB = 260  # bytes and four control tokens
ROUTES = {"/completion": {"prompt": "abc"}, "/v1/chat/completions": {"messages": [{"role": "user", "content": "abc"}]}}


@pytest.fixture
def ask(server):
    """Posts to a route; returns what the engine was opened with, and the answer."""
    seen = []
    open_seq = server.engine.open_seq
    server.engine.say = "x"

    def watch(prompt, sampling, *rest):
        seen.append(sampling)
        return open_seq(prompt, sampling, *rest)

    server.engine.open_seq = watch

    def ask(path="/completion", **fields):
        seen.clear()
        answer = server.post(path, {**ROUTES[path], **fields})
        assert answer.status == 200, answer.body
        return seen[0], answer.json

    return ask


SIMPLE = {
    "temperature": 0.5,
    "dynatemp_range": 0.25,
    "dynatemp_exponent": 1.5,
    "top_k": 7,
    "top_p": 0.5,
    "min_p": 0.25,
    "tfs_z": 0.75,
    "typical_p": 0.5,
    "top_n_sigma": 1.5,
    "xtc_probability": 0.5,
    "xtc_threshold": 0.25,
    "min_keep": 3,
    "repeat_last_n": -1,
    "repeat_penalty": 1.25,
    "presence_penalty": 0.5,
    "frequency_penalty": -0.5,
    "penalize_nl": False,
    "dry_multiplier": 0.75,
    "dry_base": 1.5,
    "dry_allowed_length": 3,
    "dry_penalty_last_n": -1,
    "dry_sequence_breakers": ["\n", "ab"],
    "mirostat": 2,
    "mirostat_tau": 4.0,
    "mirostat_eta": 0.25,
    "adaptive_target": 0.5,
    "adaptive_decay": 0.75,
    "ignore_eos": True,
    "seed": 11,
    "n_probs": 2,
    "post_sampling_probs": True,
}


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("field", SIMPLE)
def test_each_field_reaches_the_engine_and_is_shown(ask, path, field):
    value = SIMPLE[field]
    more = {"n_predict": 1} if field == "ignore_eos" else {}
    used, answer = ask(path, **more, **{field: value})
    assert getattr(used, field) == (tuple(value) if isinstance(value, list) else value)
    if path == "/completion":
        assert answer["generation_settings"][field] == value


def test_the_list_above_has_all_of_them():
    fields = set(SamplingParams.__struct_fields__) - {
        "penalty_prompt",
        "n_prompt",
        "breakers",
        "state",
        "logprobs",
        "scores",
    }
    assert set(SIMPLE) | {"logit_bias", "samplers"} == fields


# ---- chain ----


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ("edskypmxt", SAMPLERS[:4] + SAMPLERS[5:]),
        ("fki", ("tfs_z", "top_k", "infill")),
        ("", ()),
        ([], ()),
        (["typ_p", "temp", "nucleus"], ("typical_p", "temperature", "top_p")),
        (["typical-p", "top-k", "top-n-sigma"], ("typical_p", "top_k", "top_n_sigma")),
        (None, SAMPLERS),
    ],
)
def test_samplers(ask, given, ours):
    used, answer = ask(samplers=given)
    assert used.samplers == used.chain == ours
    shown = ["typ_p" if name == "typical_p" else name for name in ours]
    assert answer["generation_settings"]["samplers"] == shown
    assert ask(samplers=shown)[0].samplers == ours  # what is shown can be asked for


@pytest.mark.parametrize("given", ["z", "top_k", "kk", ["k"], ["top_k", "top-k"], ["no"], ["mirostat"], ["é"]])
def test_wrong_samplers(server, given):
    for path, body in ROUTES.items():
        assert "samplers" in server.post(path, {**body, "samplers": given}).error(400, "samplers")["message"]


@pytest.mark.parametrize("kind", [1, 2])
def test_mirostat_replaces_the_filters_and_guesses_nothing(ask, kind):
    used, answer = ask(mirostat=kind, samplers="kpmt")
    assert used.chain == ("penalties", "dry", "temperature", f"mirostat_{kind}")
    assert not used.is_stateless
    assert answer["generation_settings"]["samplers"] == ["penalties", "dry", "temperature"]


def test_adaptive_p_stands_last_and_only_where_it_is_listed(ask):
    assert ask(adaptive_target=0.5)[0].chain == SAMPLERS
    used, _ = ask(adaptive_target=0.5, samplers="akt")
    assert used.chain == ("top_k", "temperature", "adaptive_p") and not used.is_stateless
    used, answer = ask(samplers="akt")
    assert used.chain == ("top_k", "temperature") and used.is_stateless
    assert answer["generation_settings"]["samplers"] == ["top_k", "temperature"]


def test_only_chains_without_a_state_guess(server):
    seen = []
    submit = server.service.submit
    server.service.submit = lambda prompt, params, *more: (seen.append(params), submit(prompt, params, *more))[1]
    for more in ({}, {"mirostat": 1}, {"mirostat": 2}, {"samplers": "a", "adaptive_target": 0.5}):
        server.post("/completion", {"prompt": "a", "n_predict": 1, "speculative.n_max": 5, **more})
    assert [params.n_draft for params in seen] == [5, 0, 0, 0]


# ---- logit bias ----

FORBIDDEN = -math.inf


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ([[5, 1.5]], {5: 1.5}),
        ([[5, False], [6, -100], ["ab", 2]], {5: FORBIDDEN, 6: -100, 97: 2, 98: 2}),
        ([[97, 1], ["a", False]], {97: FORBIDDEN}),
        ({"5": -100, "ab": 2, "259": False}, {5: -100, 97: 2, 98: 2, 259: FORBIDDEN}),
        ({"-": 1}, {45: 1}),
        ([["<s>", 1]], dict.fromkeys(b"<s>", 1)),
        ([], {}),
        ({}, {}),
        (None, {}),
    ],
)
def test_logit_bias(ask, given, ours):
    for path in ROUTES:
        used, answer = ask(path, logit_bias=given)
        assert dict(used.logit_bias) == ours
    used, answer = ask(logit_bias=given)
    shown = [[token, None if bias == FORBIDDEN else bias] for token, bias in ours.items()]
    assert answer["generation_settings"]["logit_bias"] == shown


@pytest.mark.parametrize(
    "given",
    [
        *([[5, 101]], [[5, -100.5]], [[5, True]], [[5, None]], [[5, "1"]], [[5]], [5], [[5, 1, 2]], [None], [{"5": 1}]),
        *([[-1, 1]], [[N_VOCAB, 1]], [[2**31, 1]], [[2**32 + 5, 1]], [[2**64, 1]], [[1.0, 1]], [[True, 1]]),
        *([["", 1]], [["x" * 65, 1]], [[5, 1]] * 1025, {"260": 1}, {"-1": 1}, {"": 1}, {"5": True}, {"5": [1]}),
        [[token, False] for token in range(N_VOCAB)],
        *("x", 5),
    ],
    ids=lambda given: str(given)[:30],
)
def test_wrong_logit_bias(server, given):
    for path, body in ROUTES.items():
        server.post(path, {**body, "logit_bias": given}).error(400, "logit_bias")


# ---- penalty prompt, DRY ----


def test_penalty_prompt_stands_for_a_prompt_of_its_length(ask):
    used, answer = ask(penalty_prompt="xy")
    assert (used.penalty_prompt, used.n_prompt) == ((120, 121), 4)  # BOS abc
    settings = answer["generation_settings"]
    assert (settings["penalty_prompt_tokens"], settings["use_penalty_prompt_tokens"]) == ([120, 121], True)
    assert ask(penalty_prompt=[3, 259])[0].penalty_prompt == (3, 259)
    assert ask(penalty_prompt=[])[0].penalty_prompt == ()
    used, answer = ask()
    settings = answer["generation_settings"]
    assert (used.penalty_prompt, used.n_prompt, settings["use_penalty_prompt_tokens"]) == (None, 0, False)


@pytest.mark.parametrize("given", [[-1], [N_VOCAB], [1.5], ["a"], [True], [None], [[1]], 5, [0] * 65537, "a" * 65537])
def test_wrong_penalty_prompt(server, given):
    server.post("/completion", {"prompt": "a", "penalty_prompt": given}).error(400, "penalty_prompt")


@pytest.mark.parametrize("given", [[], [""], ["x" * 65], ["x"] * 17, [5], "x"])
def test_wrong_breakers(server, given):
    server.post("/completion", {"prompt": "a", "dry_sequence_breakers": given}).error(400, "dry_sequence_breakers")


def sequences(breakers):
    begins = [0, *breakers.ends]
    return [tuple(breakers.ids[a:b]) for a, b in zip(begins, breakers.ends, strict=False)]


def test_breakers_are_worked_out_where_dry_asks_for_them(ask):
    assert sequences(ask()[0].breakers) == []
    assert sequences(ask(dry_multiplier=1, samplers="k")[0].breakers) == []
    assert sequences(ask(dry_multiplier=1)[0].breakers) == [(10,), (34,), (42,), (58,)]
    assert sequences(ask(dry_multiplier=1, dry_sequence_breakers=["abc", "b"])[0].breakers) == [(97, 98, 99), (98,)]


class Pieces:
    """An EngineService of few words, whose tokenizer knows single letters only."""

    pieces = (b"a", b"b", b"c", b"ab", b"cab", b"bca", b"")
    info = SimpleNamespace(n_vocab=len(pieces))

    def tokenize(self, text, **_):
        return [self.pieces.index(bytes([byte])) for byte in text]

    def detokenize_bytes(self, ids):
        return b"".join(self.pieces[token] for token in ids)


def test_a_breaker_stands_within_a_token_or_from_its_end_on():
    words = Words(Pieces())
    assert sequences(words.breakers(("ab",))) == [(0, 1), (3,), (4,), (5, 1)]
    assert sequences(words.breakers(("abc",))) == [(0, 1, 2), (3, 2), (4, 2), (5, 1, 2)]
    assert words.breakers(("ab",)) is words.breakers(("ab",))
    for n in range(40):
        words.breakers(("a" * (n % 20 + 1),))
    assert len(words._kept) == 16


def test_a_breaker_that_is_everywhere(server):
    server.engine.vocab.detokenize = lambda ids, special=False: b"e" * 300
    body = {"prompt": "a", "dry_multiplier": 1, "dry_sequence_breakers": ["e" * 64, "d" + "e" * 63, *["e"] * 14]}
    assert server.post("/completion", body).status == 200
    server.engine.vocab.detokenize = lambda ids, special=False: b"e"
    many = {**body, "dry_sequence_breakers": ["e" * n + "x" for n in range(48, 64)]}
    assert "too much" in server.post("/completion", many).error(400, "dry_sequence_breakers")["message"]


def test_a_reply_shows_what_an_engine_setting_cannot():
    sampling = SamplingParams(logit_bias=((1, FORBIDDEN),), state=(1.0, 2.0))
    shown = reply.settings(GenerationParams(sampling=sampling), model="m", n_ctx=8)
    assert shown["logit_bias"] == [[1, None]] and not {"state", "breakers", "n_prompt"} & set(shown)
    reply.encode(shown)

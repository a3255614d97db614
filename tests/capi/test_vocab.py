"""Vocab over the two real vocabularies (one BPE, one SPM): range checks, round trips, threads."""

from __future__ import annotations

import random
import threading

import pytest

from llamatw.capi.gguf import Gguf
from llamatw.capi.vocab import Vocab
from llamatw.errors import BadRequest, Unavailable

pytestmark = pytest.mark.usefixtures("engine_library")


def vocab_of(path):
    with Gguf.open(path) as file:
        return Vocab.open(file)


@pytest.fixture(scope="module", params=["smollm2", "gemma3"])
def vocab(request):
    return vocab_of(request.getfixturevalue(request.param))


def test_info(vocab):
    assert vocab.info.kind in ("bpe", "spm") and vocab.info.n_tokens > 40_000
    assert vocab.token_text(vocab.info.eos) and vocab.info.eos in vocab.ends()
    assert vocab.token_text(-1) == ""


def test_pieces_are_what_tokens_show_in_the_middle_of_a_text(vocab):
    pieces, head = vocab.pieces(), vocab.tokenize("x")
    assert len(pieces) == vocab.info.n_tokens
    for token in [*random.Random(1).sample(range(len(pieces)), 2000), vocab.info.eos, len(pieces) - 1]:
        assert b"x" + pieces[token] == vocab.detokenize([*head, token]), token


@pytest.mark.parametrize("text", ["", "Hello, world", "żółw 龜 \N{TURTLE}", "a\0b", " lead", "x" * 5000])
def test_round_trip(vocab, text):
    ids = vocab.tokenize(text)
    assert vocab.detokenize(ids).decode() == text
    assert vocab.tokenize(text.encode()) == ids


def test_round_trip_of_random_text(vocab):
    """SmolLM2 has no token for some bytes: those of control characters, and those that begin planes 4 to 11."""
    draw = random.Random(1)
    planes = [(0x20, 0x7E), (0xA0, 0x24F), (0x370, 0x1FFF), (0x2000, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x1FFFF)]
    for _ in range(500):
        text = "".join(chr(draw.randint(*draw.choice(planes))) for _ in range(draw.randint(1, 60)))
        assert vocab.detokenize(vocab.tokenize(text)).decode() == text


def test_special_tokens(vocab):
    eos = vocab.token_text(vocab.info.eos)
    assert vocab.tokenize(eos, parse_special=True) == [vocab.info.eos]
    assert vocab.info.eos not in vocab.tokenize(eos)
    assert vocab.detokenize([vocab.info.eos]) == b""


def test_a_lone_surrogate_is_no_error(vocab):
    assert vocab.tokenize("a\ud800b") == vocab.tokenize("a?b")


@pytest.mark.parametrize("wrong", [-1, 2**31, 2**63, 10**30])
def test_ids_are_checked_before_they_reach_c(vocab, wrong):
    with pytest.raises(BadRequest, match=f"token id {wrong} is out of range"):
        vocab.detokenize([0, wrong])


def test_many_threads(vocab):
    wanted, wrong = vocab.tokenize("The quick brown fox " * 200), []

    def work():
        for _ in range(20):
            if vocab.tokenize("The quick brown fox " * 200) != wanted:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_close_waits_for_callers_and_then_refuses(smollm2):
    vocab, results = vocab_of(smollm2), []

    def work():
        try:
            while True:
                vocab.tokenize("some text " * 500)
        except Unavailable as error:
            results.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    vocab.close()
    for thread in threads:
        thread.join(10)
    assert len(results) == 3

"""Tokenizers against published vectors, against a slow and obvious version, there and back, and against the clock."""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llamatw.capi.gguf import Gguf
from llamatw.capi.vocab import Vocab
from tests import tokenizer_files as files
from tests.random_text import ASSIGNED, random_text
from tests.slow_tokenizer import SlowTokenizer

pytestmark = pytest.mark.usefixtures("engine_library")

VOCABULARIES = ["bert-bge", "deepseek-llm", "falcon", "gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2", "starcoder"]
SEPARATOR = "\n__ggml_vocab_test__\n"
N_ROUND_TRIPS = 10_000
N_COMPARED = 300


@contextmanager
def vocabulary(path: Path) -> Iterator[Vocab]:
    with Gguf.open(path) as file:
        vocab = Vocab.open(file)
    with vocab:
        yield vocab


def shared_vocabulary(shared_dir: Path, name: str) -> Path:
    return shared_dir / "vectors" / "tokenizer" / f"ggml-vocab-{name}.gguf"


# ---- published vectors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VOCABULARIES)
def test_shared_vectors(shared_dir: Path, name: str) -> None:
    path = shared_vocabulary(shared_dir, name)
    texts = Path(f"{path}.inp").read_bytes().decode().split(SEPARATOR)
    wanted = [[int(token) for token in line.split()] for line in Path(f"{path}.out").read_text().split("\n")]
    with vocabulary(path) as vocab:
        for text, tokens in zip(texts, wanted, strict=False):
            assert vocab.tokenize(text) == tokens, repr(text)
    assert 40 < len(texts) <= len(wanted)


@pytest.mark.parametrize(("model", "name"), [("smollm2", "smollm2-135m-q4_1"), ("gemma3", "gemma3-270m-q4_k_m")])
def test_reference_prompts(request: pytest.FixtureRequest, shared_dir: Path, model: str, name: str) -> None:
    reference = json.loads((shared_dir / "vectors" / "reference" / f"{name}.json").read_text())
    with vocabulary(request.getfixturevalue(model)) as vocab:
        for prompt in reference:
            tokens = vocab.tokenize(prompt["prompt"], add_special=True, parse_special=True)
            assert tokens == prompt["ids"], prompt["name"]


# ---- against the slow version --------------------------------------------------------------------------------------


def compare(path: Path, seed: int) -> None:
    slow, rng = SlowTokenizer(path), random.Random(seed)
    with vocabulary(path) as vocab:
        for number in range(N_COMPARED):
            text, parse_special = random_text(rng, slow.special_texts), number % 2 == 0
            assert vocab.tokenize(text, parse_special=parse_special) == slow.tokenize(text, parse_special), ascii(text)


@pytest.mark.parametrize("name", [name for name in VOCABULARIES if name not in ("bert-bge", "phi-3")])  # see below
def test_random_text_as_the_slow_version(shared_dir: Path, name: str) -> None:
    compare(shared_vocabulary(shared_dir, name), 1)


@pytest.mark.parametrize("model", ["smollm2", "gemma3"])
def test_random_text_of_real_models_as_the_slow_version(request: pytest.FixtureRequest, model: str) -> None:
    compare(request.getfixturevalue(model), 2)


def test_phi3_drops_white_space_behind_special_tokens(shared_dir: Path) -> None:
    with vocabulary(shared_vocabulary(shared_dir, "phi-3")) as vocab:
        user, plain = 32010, vocab.tokenize("hi")
        assert vocab.tokenize("<|user|> \n\t hi", parse_special=True) == [user, *plain]
        assert vocab.tokenize("<|user|> \n", parse_special=True) == [user]


@pytest.mark.parametrize(("pre", "mask"), [("jina-v2-code", "<mask>"), ("modern-bert", "[MASK]")])
def test_a_mask_takes_the_white_space_before_it(tmp_path: Path, pre: str, mask: str) -> None:
    tokens = ["a", "b", "\u0120", mask, "<sep>"]
    types = [files.NORMAL] * 3 + [files.CONTROL] * 2
    path = files.write(tmp_path / "bpe.gguf", "gpt2", tokens, types, pre=pre, merges=["a b"], seperator_token_id=4)
    with vocabulary(path) as vocab:
        assert vocab.tokenize(f"a  {mask} b", parse_special=True) == [0, 3, 2, 1]
        assert vocab.tokenize(f" {mask}", parse_special=True) == [3]
        separated = [0, 4] if pre == "jina-v2-code" else [0]
        assert vocab.tokenize("a", add_special=True) == separated


# ---- there and back ------------------------------------------------------------------------------------------------


def known_bytes(vocab: Vocab) -> set[int]:
    """Bytes that the vocabulary has a token for; it drops others, as SmolLM2's does some control characters."""
    return {byte for byte in range(256) if vocab.detokenize(vocab.tokenize(bytes([byte]))) == bytes([byte])}


@pytest.mark.parametrize("model", ["smollm2", "gemma3"])
def test_round_trip(request: pytest.FixtureRequest, model: str) -> None:
    rng = random.Random(3)
    with vocabulary(request.getfixturevalue(model)) as vocab:
        known = known_bytes(vocab)
        unknown = {char for char in ASSIGNED if not known.issuperset(char.encode())}
        unknown.add("\u2581")  # to SPM that is a space
        assert sum(unicodedata.category(char) not in ("Cc", "Cf", "Co") for char in unknown) <= 1
        for _ in range(N_ROUND_TRIPS):
            text = "".join(char for char in random_text(rng, ["<|im_end|>", "<eos>"]) if char not in unknown)
            assert vocab.detokenize(vocab.tokenize(text)) == text.encode(), ascii(text)


def test_the_space_in_front_is_taken_away_again(shared_dir: Path) -> None:
    with vocabulary(shared_vocabulary(shared_dir, "llama-spm")) as vocab:
        for text in ("Hello", " Hello", "  two", "\n", "", "日本"):
            for add_special in (False, True):
                assert vocab.detokenize(vocab.tokenize(text, add_special=add_special)) == text.encode()
        assert vocab.detokenize(vocab.tokenize("Hello", add_special=True), special=True) == b"<s> Hello"


@pytest.mark.parametrize("model", ["smollm2", "gemma3"])
def test_invalid_utf8_comes_back_as_it_is(request: pytest.FixtureRequest, model: str) -> None:
    rng = random.Random(4)
    with vocabulary(request.getfixturevalue(model)) as vocab:
        known = sorted(known_bytes(vocab))
        for _ in range(500):
            raw = bytes(rng.choices(known, k=rng.randrange(40))).replace(b"\xe2\x96\x81", b"")
            assert vocab.detokenize(vocab.tokenize(raw)) == raw


# ---- the ends of generation ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("llama-bpe", {"<|end_of_text|>", "<|eot_id|>"}),
        ("qwen2", {"<|endoftext|>", "<|im_end|>"}),  # and not its </s>, which is plain text
        ("phi-3", {"<|endoftext|>", "<|end|>"}),
        ("llama-spm", {"</s>"}),
        ("deepseek-llm", {"<\uff5cend\u2581of\u2581sentence\uff5c>"}),
    ],
)
def test_tokens_that_end_generation(shared_dir: Path, name: str, texts: set[str]) -> None:
    with vocabulary(shared_vocabulary(shared_dir, name)) as vocab:
        assert {vocab.detokenize([token], special=True).decode() for token in vocab.ends()} == texts


# ---- long texts of one kind ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["smollm2", "gemma3"])
@pytest.mark.parametrize("unit", ["a", " ", "\n", "\u0301", "<", "漢", " \n", "<|im_start|>"], ids=ascii)
def test_megabytes_of_one_kind(request: pytest.FixtureRequest, model: str, unit: str) -> None:
    """Anything quadratic would never come back."""
    raw = unit.encode() * (2_000_000 // len(unit.encode()))
    with vocabulary(request.getfixturevalue(model)) as vocab:
        assert vocab.detokenize(vocab.tokenize(raw)) == raw

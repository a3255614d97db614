"""Every tokenizer against the libraries that models were trained with, on random texts: `tokenizers`, `sentencepiece`.

LLAMATW_RANDOM_TEXTS says how many texts each vocabulary gets.
"""

from __future__ import annotations

import io
import json
import os
import random
import string
import struct
import unicodedata
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from operator import eq
from pathlib import Path
from typing import Any

import pytest

from llamatw.capi.gguf import Gguf
from llamatw.capi.vocab import Vocab
from tests import tokenizer_files as files
from tests.random_text import ASSIGNED, random_text
from tests.slow_tokenizer import GPT2

hf = pytest.importorskip("tokenizers", reason="the package `tokenizers` (extra `test`) is not installed")
sentencepiece = pytest.importorskip(
    "sentencepiece", reason="the package `sentencepiece` (extra `test`) is not installed"
)
pytestmark = pytest.mark.usefixtures("engine_library")

N_TEXTS = int(os.environ.get("LLAMATW_RANDOM_TEXTS", "80"))
Encode = Callable[[str], Iterable[int]]
Same = Callable[[list[int], list[int]], bool]
Bpe = tuple[dict[str, int], list[tuple[str, str]]]

INSENSITIVE = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"  # as models have it; it takes a long s, too
WORD = r"[^\r\n\p{L}\p{N}]?"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
SIGNS = r" ?[^\s\p{L}\p{N}]+"


def llama3(
    digits: str, letters: str = r"\p{L}+", contractions: str = INSENSITIVE + "|", signs: str = SIGNS + r"[\r\n]*"
) -> str:
    return rf"{contractions}{WORD}{letters}|\p{{N}}{digits}|{signs}|{SPACES}"


def cased(upper: str, lower: str, contraction: str, digits: str, tail: str = r"[\r\n/]*") -> str:
    word = rf"{WORD}{upper}*{lower}+{contraction}|{WORD}{upper}+{lower}*{contraction}"
    return rf"{word}|\p{{N}}{digits}|{SIGNS}{tail}|{SPACES}"


def without_han(group: str) -> str:
    return rf"[{group}&&[^\p{{Han}}]]"


GPT4O = cased(UPPER, LOWER, INSENSITIVE + "?", "{1,3}")
HAN_KANA = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
DEEPSEEK3_WORD = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+"""
)
DEEPSEEK3 = rf"{DEEPSEEK3_WORD}[\r\n]*|{SPACES}"
ASIAN = (
    "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0e7f\u0e80-\u0eff"
    "\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+"
)
YOUTU = (
    "[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+"
    f"|[\u3105-\u312f]+|{HAN_KANA}"
)
BLOOM = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"
JAIS2 = (
    rf"{llama3('{1,3}').removesuffix(SPACES)}\s*[\r\n]+|"
    + "".join(rf"\s{{{n}}}(?!\S)|" for n in (512, 256, 128, 64, 32, 16, 8, 4, "1,2"))
    + r"\s{1}"
)
EAST_ASIAN = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
WHOLE = {"llama-bpe", "glm4", "tekken", "minicpm5", "granite-embed-multi-97m", "youtu"}
PATTERNS = {
    "default": [r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "falcon": [r"[\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"],
    "gpt-2": [GPT2],
    "starcoder": [r"\p{N}", GPT2],
    "llama-bpe": [llama3("{1,3}")],
    "chatglm-bpe": [llama3("{1,3}")],
    "glm4": [llama3("{1,3}")],
    "qwen2": [llama3("")],
    "bailingmoe": [rf"'(?i:[sdmt]|ll|ve|re)|{WORD}+\p{{L}}++|\p{{N}}|{SIGNS}+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"],
    "qwen35": [llama3("", r"[\p{L}\p{M}]+", signs=r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*")],
    "seed-coder": [llama3("{1}", signs=r" ?[^\s\p{L}\p{N}\r\n]+")],
    "exaone-moe": [llama3("", r"(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+", signs=SIGNS + r"[\r\n/]?")],
    "ufakzeka": [llama3("", contractions="")],
    "jais-2": [JAIS2],
    "laguna": [r"[^\n]+|[\n]+", llama3("")],
    "minicpm5": [r"\p{N}{1,3}", llama3("+")],
    "tekken": [cased(UPPER, LOWER, "", "")],
    "gpt-4o": [GPT4O],
    "granite-embed-multi-97m": [GPT4O],
    "kimi-k2": [r"[\p{Han}]+|" + cased(without_han(UPPER), without_han(LOWER), INSENSITIVE + "?", "{1,3}", r"[\r\n]*")],
    "youtu": [YOUTU, cased(UPPER, LOWER, INSENSITIVE + "?", "")],
    "superbpe": [r"\p{N}+", r"(?=(\d{3})+(?!\d))"],
    "tiny_aya": [r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O],
    "afmoe": [r"\p{N}+", r"(?<=\A|\G)\p{N}{1,3}(?=(?:\p{N}{3})*\z)", ASIAN, DEEPSEEK3],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", EAST_ASIAN, r"\p{N}"],
    "deepseek-v3": [r"\p{N}{1,3}", HAN_KANA, DEEPSEEK3],
    "spark2_5": [r"\p{N}", HAN_KANA, rf"{DEEPSEEK3_WORD}|[\r\n]|\s+(?!\S)|\s+"],
    "bloom": [BLOOM],
    "viking": [BLOOM, r"\p{N}"],
    "chameleon": [
        "<sentinel:[0-9]+>",
        "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
        r"([\t\n]|    |  )",
        r"\p{N}",
        r"[\p{P}!-/:-@\[-`{-~]",
        GPT2,
    ],
}


def compare(path: Path, encode: Encode, seed: int, left_out: Container[str] = (), same: Same = eq) -> None:
    """Texts of any characters but those left out give the same ids."""
    rng = random.Random(seed)
    with Gguf.open(path) as file:
        vocab = Vocab.open(file)
    with vocab:
        for _ in range(N_TEXTS):
            text = "".join(char for char in random_text(rng) if char not in left_out)
            assert same(vocab.tokenize(text), list(encode(text))), ascii(text)


def encoder(tokenizer: hf.Tokenizer) -> Encode:
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


# ---- byte-level BPE ------------------------------------------------------------------------------------------------


def trained_bpe(tokenizer: hf.Tokenizer, n_tokens: int, alphabet: Sequence[str] = (), seed: int = 1) -> Bpe:
    """Vocabulary and merges of an untrained BPE tokenizer, which is trained."""
    trainer = hf.trainers.BpeTrainer(vocab_size=n_tokens, initial_alphabet=list(alphabet), show_progress=False)
    tokenizer.train_from_iterator(files.corpus(seed), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


@pytest.fixture(scope="module")
def bpe() -> Bpe:
    """Merges across everything, as nothing is cut while training: so every cut shows."""
    tokenizer = hf.Tokenizer(hf.models.BPE())
    tokenizer.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return trained_bpe(tokenizer, 3000, hf.pre_tokenizers.ByteLevel.alphabet())


@pytest.mark.parametrize("pre", PATTERNS)
def test_pretokenizers(tmp_path: Path, bpe: Bpe, pre: str) -> None:
    ids, merges = bpe
    tokenizer = hf.Tokenizer(hf.models.BPE(ids, merges, ignore_merges=pre in WHOLE))
    cuts = [hf.pre_tokenizers.Split(hf.Regex(pattern), "isolated") for pattern in PATTERNS[pre]]
    bytes_only = hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = hf.pre_tokenizers.Sequence([*cuts, bytes_only])
    tokens = files.in_order(ids)
    values = {"pre": pre, "merges": [" ".join(merge) for merge in merges]}
    compare(
        files.write(tmp_path / "bpe.gguf", "gpt2", tokens, [files.NORMAL] * len(tokens), **values),
        encoder(tokenizer),
        5,
    )


def test_megabytes_of_one_kind(tmp_path: Path, bpe: Bpe) -> None:
    """Anything quadratic would never come back."""
    ids, merges = bpe
    tokens = files.in_order(ids)
    units = ["1", "1a", " ", " \n", "\n", "a ", "A", "\u3042A", "\u0301", "!", "'s", "<sentinel:1", "IMGIMGA", "\u0e01"]
    raw = "".join(unit * (100_000 // len(unit)) for unit in units).encode()
    values = {"merges": [" ".join(merge) for merge in merges]}
    for pre in PATTERNS:
        path = files.write(tmp_path / "bpe.gguf", "gpt2", tokens, [files.NORMAL] * len(tokens), pre=pre, **values)
        with Gguf.open(path) as file:
            vocab = Vocab.open(file)
        with vocab:
            assert vocab.detokenize(vocab.tokenize(raw)) == raw, pre


def test_bpe_without_merges_ranks_by_id(tmp_path: Path, bpe: Bpe) -> None:
    """Which is the rank here, as ids of merged tokens ascend."""
    ids, merges = bpe
    tokenizer = hf.Tokenizer(hf.models.BPE(ids, merges))
    cut = hf.pre_tokenizers.Split(hf.Regex(PATTERNS["kimi-k2"][0]), "isolated")
    bytes_only = hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = hf.pre_tokenizers.Sequence([cut, bytes_only])
    tokens = files.in_order(ids)
    path = files.write(tmp_path / "bpe.gguf", "gpt2", tokens, [files.NORMAL] * len(tokens), pre="kimi-k2")
    compare(path, encoder(tokenizer), 12)


def test_bpe_of_characters(tmp_path: Path) -> None:
    """Gemma 4's kind: spaces as U+2581, characters as symbols, bytes for those that are no token."""
    tokenizer = hf.Tokenizer(hf.models.BPE())
    tokenizer.normalizer = hf.normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = hf.pre_tokenizers.Split(hf.Regex("[^\\n]+|[\\n]+"), "isolated")
    ids, merges = trained_bpe(tokenizer, 3000)
    tokens = [*files.byte_tokens(), *files.in_order(ids)]
    ids = {token: number for number, token in enumerate(tokens)}
    tokenizer.model = hf.models.BPE(ids, merges, byte_fallback=True)
    types = [files.BYTE] * 256 + [files.NORMAL] * (len(tokens) - 256)
    path = files.write(tmp_path / "bpe.gguf", "gemma4", tokens, types, merges=[" ".join(merge) for merge in merges])
    compare(path, encoder(tokenizer), 6)


def test_bpe_of_words_without_white_space(tmp_path: Path) -> None:
    tokenizer = hf.Tokenizer(hf.models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = hf.pre_tokenizers.Split(hf.Regex(r"\s+"), "removed")
    ids, merges = trained_bpe(tokenizer, 3000)
    tokens = ["<unk>", *files.in_order(ids)]
    ids = {token: number for number, token in enumerate(tokens)}
    tokenizer.model = hf.models.BPE(ids, merges, unk_token="<unk>")
    types = [files.UNKNOWN] + [files.NORMAL] * (len(tokens) - 1)
    values = {"unknown_token_id": 0, "merges": [" ".join(merge) for merge in merges]}
    compare(files.write(tmp_path / "bpe.gguf", "whitespace", tokens, types, **values), encoder(tokenizer), 13)


# ---- WordPiece -----------------------------------------------------------------------------------------------------


def as_wordpiece(token: str) -> str:
    """As GGUF files spell it."""
    return token.removeprefix("##") if token.startswith("##") else "\u2581" + token


@pytest.fixture(scope="module")
def of_other_standards() -> set[str]:
    """Characters that BERT's normaliser in `tokenizers`, which knows Unicode 8, does not take for what they are."""
    normalizer = hf.normalizers.BertNormalizer(lowercase=True)
    cut = hf.pre_tokenizers.BertPreTokenizer()

    def differs(char: str) -> bool:
        kind = unicodedata.category(char)
        if kind in ("Mn", "Cf"):
            return bool(normalizer.normalize_str(char))
        return (len(cut.pre_tokenize_str(f"a{char}b")) == 3) != (kind[0] == "P" or char in string.punctuation)

    kinds = ("Mn", "Mc", "Me", "Cf", *(f"{major}{minor}" for major in "PS" for minor in "cdefikmos"))
    once_nonspacing = "\U0001171e"
    return {char for char in ASSIGNED if unicodedata.category(char) in kinds and differs(char)} | {once_nonspacing}


@pytest.mark.parametrize(("lowercase", "accents"), [(True, None), (False, None), (True, False), (False, True)])
def test_wordpiece(tmp_path: Path, of_other_standards: set[str], lowercase: bool, accents: bool | None) -> None:
    tokenizer = hf.Tokenizer(hf.models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = hf.normalizers.BertNormalizer(lowercase=lowercase, strip_accents=accents)
    tokenizer.pre_tokenizer = hf.pre_tokenizers.BertPreTokenizer()
    trainer = hf.trainers.WordPieceTrainer(
        vocab_size=3000, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False
    )
    tokenizer.train_from_iterator(files.corpus(2), trainer)
    tokens = files.in_order(tokenizer.get_vocab())
    values = {"unknown_token_id": 0, "cls_token_id": 1, "seperator_token_id": 2, "normalizer__lowercase": lowercase}
    if accents is not None:
        values["normalizer__strip_accents"] = accents
    spelled = tokens[:3] + [as_wordpiece(token) for token in tokens[3:]]
    types = [files.CONTROL] * 3 + [files.NORMAL] * (len(tokens) - 3)
    compare(
        files.write(tmp_path / "wpm.gguf", "bert", spelled, types, **values), encoder(tokenizer), 7, of_other_standards
    )


# ---- SentencePiece -------------------------------------------------------------------------------------------------


def trained_sentencepiece(**options: Any) -> sentencepiece.SentencePieceProcessor:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(files.corpus(3)), model_writer=model, minloglevel=2, hard_vocab_limit=False, **options
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def test_spm(tmp_path: Path) -> None:
    trained = trained_sentencepiece(
        vocab_size=2500,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
    )
    compare(
        files.write_sentencepiece(tmp_path / "spm.gguf", trained.serialized_model_proto(), "llama"), trained.encode, 8
    )


@pytest.mark.parametrize(
    "options", [{}, {"byte_fallback": True}, {"remove_extra_whitespaces": False}, {"add_dummy_prefix": False}], ids=str
)
def test_unigram(tmp_path: Path, options: dict[str, Any]) -> None:
    """Its sums are of floats: of two ways with the same score it may take the other."""
    trained = trained_sentencepiece(
        vocab_size=1500, model_type="unigram", normalization_rule_name="nmt_nfkc", **options
    )

    def as_good(ours: list[int], theirs: list[int]) -> bool:
        (text, score), (their_text, their_score) = (
            ("".join(map(trained.id_to_piece, ids)), sum(map(trained.get_score, ids))) for ids in (ours, theirs)
        )
        return text == their_text and score == pytest.approx(their_score, abs=1e-3)

    path = files.write_sentencepiece(tmp_path / "ugm.gguf", trained.serialized_model_proto(), "t5")
    compare(path, trained.encode, 9, same=as_good)


def float32(value: float) -> float:
    """As a file has it."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def test_unigram_of_hugging_face(tmp_path: Path) -> None:
    tokenizer = hf.Tokenizer(hf.models.Unigram())
    tokenizer.normalizer = hf.normalizers.Sequence(
        [hf.normalizers.Replace(hf.Regex(pattern), to) for pattern, to in ((r"\A +| +\z", ""), (" +", " "))]
    )
    tokenizer.pre_tokenizer = hf.pre_tokenizers.Metaspace()
    trainer = hf.trainers.UnigramTrainer(
        vocab_size=1500, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False
    )
    tokenizer.train_from_iterator(files.corpus(4), trainer)
    pieces = [(piece, float32(score)) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]]
    tokenizer.model = hf.models.Unigram(pieces, unk_id=0)
    values = {"scores": [score for _, score in pieces], "unknown_token_id": 0, "add_space_prefix": True}
    types = [files.UNKNOWN] + [files.NORMAL] * (len(pieces) - 1)
    path = files.write(
        tmp_path / "ugm.gguf", "t5", [token for token, _ in pieces], types, remove_extra_whitespaces=True, **values
    )
    compare(path, encoder(tokenizer), 10, "\u2581")  # which to it is the space that it would put in front


# ---- RWKV ----------------------------------------------------------------------------------------------------------


def test_rwkv(tmp_path: Path) -> None:
    """No library has it; its rule is one line."""
    rng = random.Random(11)
    stretches = {
        text[at : at + rng.randrange(2, 9)].encode() for text in files.corpus(5, 500) for at in range(0, len(text), 7)
    }
    pieces = [
        b"<s>",
        *(bytes([byte]) for byte in range(256)),
        *sorted(stretch for stretch in stretches if len(stretch) > 1),
    ]
    ids = {piece: number for number, piece in enumerate(pieces) if number}

    def encode(text: str) -> Iterator[int]:
        raw = text.encode()
        while raw:
            piece = next(raw[:n] for n in range(len(raw), 0, -1) if raw[:n] in ids)
            yield ids[piece]
            raw = raw[len(piece) :]

    spelled = [repr(piece)[2:-1] for piece in pieces]
    path = files.write(tmp_path / "rwkv.gguf", "rwkv", spelled, [files.CONTROL] + [files.NORMAL] * (len(pieces) - 1))
    compare(path, encode, 11)

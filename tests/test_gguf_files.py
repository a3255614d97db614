"""Model files from strangers: good ones are read as the `gguf` package reads them, bad ones refused in one sentence."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import gguf
import numpy as np
import pytest

from llamatw.capi.gguf import Gguf
from llamatw.errors import ModelError
from tests.gguf_bytes import (
    ARCHITECTURE,
    ARRAY,
    BOOL,
    F32,
    I32,
    STR,
    U8,
    U64,
    File,
    array,
    pair,
    string,
    tensor,
    text,
    u32,
)

pytestmark = pytest.mark.usefixtures("engine_library")


def refusal(path: Path) -> str:
    """The sentence with which a file is refused; it must name the file."""
    with pytest.raises(ModelError) as caught:
        Gguf.open(path).close()
    assert path.name in caught.value.message
    return caught.value.message


# ---- what must be refused, and what the sentence must say --------------------------------------------------------


def with_tensors(*rows: bytes, n_data: int = 4096, **more: object) -> bytes:
    return File(tensors=list(rows), data=bytes(n_data), **more).bytes()  # type: ignore[arg-type]


def with_pairs(*pairs: bytes, **more: object) -> bytes:
    return File(pairs=[ARCHITECTURE, *pairs], **more).bytes()  # type: ignore[arg-type]


def with_alignment(value: bytes, kind: int = 4) -> bytes:
    return with_pairs(pair("general.alignment", kind, value))


Cases = dict[str, tuple[bytes, str]]


def cases(label: str, numbers: Iterable[int], content: Callable[[int], bytes], words: str) -> Cases:
    """One case per number; `words` may hold {n}, {u32} and {u64}: the number, as it comes out of 32 and 64 bits."""
    return {f"{label} {n}": (content(n), words.format(n=n, u32=n % 2**32, u64=n % 2**64)) for n in numbers}


def one_tensor(dims: list[int], kind: int = 0, offset: int = 0, n_dims: int | None = None) -> bytes:
    return with_tensors(tensor("t", dims, kind, offset, n_dims))


def two_tensors(n: int, offset: int, second_offset: int) -> bytes:
    """t of n floats, then u of 4."""
    return with_tensors(tensor("t", [n], 0, offset), tensor("u", [4], 0, second_offset))


HEADERS: Cases = {
    "empty": (b"", "not a GGUF file: it has 0 bytes"),
    "magic": (File(magic=b"GGML").bytes(), "not a GGUF file: it starts with bytes 47 47 4d 4c"),
    "zeros": (bytes(4096), "not a GGUF file"),
    **cases(
        "version", (0, 1, 4), lambda n: File(version=struct.pack("<I", n)).bytes(), "version {n}, supported are 2 and 3"
    ),
    "big-endian": (File(version=struct.pack(">I", 3)).bytes(), "big-endian"),
    "no keys": (File(pairs=[]).bytes() + bytes(64), "no metadata"),
    **cases("keys", (2**63, 2**63 - 1, 2**40, -1), lambda n: File(n_pairs=n).bytes(), "announces {u64} metadata keys"),
    **cases("tensors", (2**63, 2**63 - 1, 2**40, -1), lambda n: File(n_tensors=n).bytes(), "announces {u64} tensors"),
    "too many keys": (File(n_pairs=70_000).bytes() + bytes(10**6), "70000 metadata keys, limit 65536"),
    "too many tensors": (File(n_tensors=300_000).bytes() + bytes(10**7), "300000 tensors, limit 262144"),
    "one key too few": (File(n_pairs=2).header(), "ends inside the name of key 1 of 2"),
    "three keys too few": (File(n_pairs=4).header(), "announces 4 metadata keys, its 69 bytes hold at most 3"),
}

KEYS: Cases = {
    **cases(
        "key of",
        (2**64 - 1, 2**63, 2**30, 65_536),
        lambda n: with_pairs(text("k", n) + bytes(100_000)),
        "the name of key 1 has {n} bytes, limit 65535",
    ),
    "key cut off": (with_pairs(text("k", 60_000)) + bytes(99), "ends inside the name of key 1 of 2"),
    "key of nothing": (with_pairs(u32("", 1)), "the name of key 1 is empty"),
    "key not UTF-8": (with_pairs(u32(b"ab\xff", 1)), "the name of key 1 is not valid UTF-8"),
    "key with NUL": (with_pairs(u32(b"a\0b", 1)), "the name of key 1 is not valid UTF-8"),
    "key with surrogate": (with_pairs(u32(b"\xed\xa0\x80", 1)), "the name of key 1 is not valid UTF-8"),
    "key with overlong": (with_pairs(u32(b"\xc0\xaf", 1)), "the name of key 1 is not valid UTF-8"),
    "key with half a character": (with_pairs(u32(b"a\xe2\x82", 1)), "the name of key 1 is not valid UTF-8"),
    "key twice": (with_pairs(u32("k", 1), u32("k", 1)), "key k occurs twice"),
}

VALUES: Cases = {
    **cases(
        "string of",
        (2**64 - 1, 2**63, 2**40, 2**30),
        lambda n: with_pairs(pair("k", STR, text("v", n))),
        "key k holds a string of {n} bytes, limit 67108864",
    ),
    "string one too long": (File([ARCHITECTURE, pair("k", STR, text("v", 2))]).header(), "key k is cut off"),
    **cases(
        "type", (13, 255, -1), lambda n: with_pairs(pair("k", n, bytes(64))), "value type {u32}, known are 0 to 12"
    ),
    "item type": (with_pairs(array("k", 13, 1, bytes(64))), "item type 13"),
    "array of arrays": (with_pairs(array("k", ARRAY, 1, bytes(64))), "key k is an array of arrays"),
    "array of 2^61 u64": (with_pairs(array("k", U64, 2**61, bytes(64))), "key k announces 2305843009213693952 items"),
    "array of 2^64-1 u8": (with_pairs(array("k", U8, 2**64 - 1, bytes(64))), "key k announces"),
    "array of 2^62 strings": (with_pairs(array("k", STR, 2**62, bytes(64))), "key k announces"),
    "array too long": (with_pairs(array("k", U8, 128, bytes(64))), "key k announces 128 items"),
    "string in array too long": (with_pairs(array("k", STR, 2, text("ab") + text("x", 99))), "key k is cut off"),
    "bool of 2": (with_pairs(pair("k", BOOL, b"\2")), "key k is bool and holds 2"),
    "bool of 2 in array": (with_pairs(array("k", BOOL, 3, b"\0\1\2")), "key k is bool and holds 2"),
    **cases(
        "alignment",
        (0, 1, 3, 4, 48, 2**17, 2**31),
        lambda n: with_alignment(struct.pack("<I", n)),
        "general.alignment is {n}, must be a power of two from 8 to 65536",
    ),
    "alignment i32": (with_alignment(struct.pack("<i", 32), I32), "general.alignment must be u32, is i32"),
    "alignment u64": (with_alignment(struct.pack("<Q", 32), U64), "general.alignment must be u32, is u64"),
}

TENSORS: Cases = {
    "tensor name of 64": (with_tensors(tensor("t" * 64, [4])), "the name of tensor 0 has 64 bytes, limit 63"),
    "tensor name of 2^64-1": (with_tensors(text("t", 2**64 - 1), n_tensors=1), "limit 63"),
    "tensor without name": (with_tensors(tensor("", [4])), "the name of tensor 0 is empty"),
    "tensor name not UTF-8": (with_tensors(tensor(b"t\xff", [4])), "the name of tensor 0 is not valid UTF-8"),
    "tensor name with NUL": (with_tensors(tensor(b"t\0", [4])), "the name of tensor 0 is not valid UTF-8"),
    "tensor twice": (with_tensors(tensor("t", [4]), tensor("t", [4], 0, 32)), "tensor t occurs twice"),
    **cases(
        "dimensions", (0, 5, 2**31), lambda n: one_tensor([4], n_dims=n), "tensor t has {n} dimensions, must be 1 to 4"
    ),
    **cases("dimension", (0, -1, 2**63), lambda n: one_tensor([n]), "tensor t has {u64} elements in dimension 0"),
    **cases(
        "elements", (2**62, 2**42 + 1, 2**63 - 1), lambda n: one_tensor([n]), "tensor t of {n} x 1 x 1 x 1 elements"
    ),
    "rows wrap": (one_tensor([2**42 + 1, 2**22]), "does not fit the file"),
    "bytes wrap": (one_tensor([2**62, 4]), "does not fit the file"),
    "padding wraps": (one_tensor([2**62 - 4]), "does not fit the file"),
    **cases(
        "tensor type", (4, 5, 31, 36, 42, 255, -1), lambda n: one_tensor([32], n), "tensor t has type number {u32}"
    ),
    "part of a block": (one_tensor([33], 2), "tensor t has rows of 33 elements, Q4_0 needs a multiple of 32"),
    "part of a big block": (one_tensor([128], 12), "Q4_K needs a multiple of 256"),
    "offset 1": (one_tensor([4], 0, 1), "tensor t has offset 1, must be a multiple of 32"),
    "offset 2^63": (one_tensor([4], 0, 2**63), "tensor t needs 16 bytes at offset 9223372036854775808"),
    "offset wraps": (one_tensor([8], 0, 2**64 - 32), "tensor t needs"),
    "same offset": (two_tensors(4, 0, 0), "tensor u has offset 0, the tensor before it ends at 16"),
    "overlap": (two_tensors(16, 0, 32), "tensor u has offset 32, the tensor before it ends at 64"),
    "descending": (two_tensors(4, 64, 0), "tensor u has offset 0, the tensor before it ends at 80"),
    "byte short": (with_tensors(tensor("t", [4]), n_data=15), "tensor t needs 16 bytes at offset 0, the file has 15"),
    "cut in the padding": (with_tensors(tensor("t", [4]), n_data=0)[:-1], "tensor t needs 16 bytes"),
}

BAD_FILES = HEADERS | KEYS | VALUES | TENSORS


@pytest.mark.parametrize(("content", "words"), BAD_FILES.values(), ids=BAD_FILES)
def test_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    assert words in refusal(path)


def test_shorter_than_a_header(tmp_path: Path) -> None:
    path = tmp_path / "short.gguf"
    for n in range(24):
        path.write_bytes(File().bytes()[:n])
        assert f"not a GGUF file: it has {n} bytes" in refusal(path)


def test_not_a_file(tmp_path: Path) -> None:
    pipe, loop = tmp_path / "pipe.gguf", tmp_path / "loop.gguf"
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    assert "is not a regular file" in refusal(pipe)
    assert "is not a regular file" in refusal(Path("/dev/zero"))
    assert "is a directory" in refusal(tmp_path)
    assert "No such file" in refusal(tmp_path / "absent.gguf")
    assert "symbolic links" in refusal(loop)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "secret.gguf"
    path.write_bytes(File().bytes())
    path.chmod(0)
    assert "Permission denied" in refusal(path)


def test_long_path_leaves_room_for_the_reason(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["d" * 200] * 5)
    folder.mkdir(parents=True)
    (folder / "long.gguf").write_bytes(bytes(99))
    assert "is not a GGUF file: it starts with bytes 00 00 00 00" in refusal(folder / "long.gguf")


def test_sparse_file(tmp_path: Path) -> None:
    """A terabyte of nothing costs nothing."""
    path = tmp_path / "sparse.gguf"
    path.write_bytes(with_tensors(tensor("t", [4])))
    try:
        os.truncate(path, 2**40)
    except OSError:
        pytest.skip("this file system has no sparse files of a terabyte")
    with Gguf.open(path) as file:
        assert [t.name for t in file.tensors()] == ["t"]
    with path.open("r+b") as raw:
        raw.write(bytes(4))
    assert "not a GGUF file" in refusal(path)


# ---- what must be accepted ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("alignment", [8, 16, 32, 4096, 65536])
def test_alignments(tmp_path: Path, alignment: int) -> None:
    path = tmp_path / "aligned.gguf"
    pairs = [ARCHITECTURE, u32("general.alignment", alignment)]
    rows = [tensor("a", [1]), tensor("b", [1], 0, alignment)]
    path.write_bytes(File(pairs, rows, bytes(alignment + 4), alignment).bytes())
    with Gguf.open(path) as file:
        assert [t.offset for t in file.tensors()] == [0, alignment]


def test_version_2_and_names_at_their_limits(tmp_path: Path) -> None:
    path = tmp_path / "v2.gguf"
    key, name = "schlüssel." + "k" * 65_000, "t" * 63
    content = File([ARCHITECTURE, u32(key, 7)], [tensor(name, [256], 23)], bytes(136), version=struct.pack("<I", 2))
    path.write_bytes(content.bytes())
    with Gguf.open(path) as file:
        assert file.version == 2
        assert file.get(key) == 7
        assert [(t.name, t.type_name, t.n_bytes) for t in file.tensors()] == [(name, "IQ4_XS", 136)]


def test_strings_may_be_any_bytes(tmp_path: Path) -> None:
    path = tmp_path / "bytes.gguf"
    path.write_bytes(with_pairs(string("v", b"a\0\xffb"), array("w", STR, 2, text(b"\xff") + text(""))))
    with Gguf.open(path) as file:
        assert file.get("v") == "a\0\N{REPLACEMENT CHARACTER}b"
        assert file.get("w") == ["\N{REPLACEMENT CHARACTER}", ""]


def test_large_vocabulary(tmp_path: Path) -> None:
    path, n = tmp_path / "vocabulary.gguf", 262_144
    tokens = b"".join(text(f"token{i}") for i in range(n))
    pairs = [array("tokenizer.ggml.tokens", STR, n, tokens), array("tokenizer.ggml.scores", F32, n, bytes(4 * n))]
    path.write_bytes(with_pairs(*pairs, array("tokenizer.ggml.token_type", I32, n, bytes(4 * n))))
    with Gguf.open(path) as file:
        assert file.n_items("tokenizer.ggml.tokens") == n


def test_many_names(tmp_path: Path) -> None:
    """So many that anything quadratic would be met by the tests' patience."""
    path, n = tmp_path / "many.gguf", 60_000
    pairs = [u32(f"key.{i}", i) for i in range(n)]
    rows = [tensor(f"tensor.{i}", [8], 0, 32 * i) for i in range(n)]
    path.write_bytes(with_pairs(*pairs, tensors=rows, data=bytes(32 * n)))
    with Gguf.open(path) as file:
        assert len(file.tensors()) == n


# ---- the same as the `gguf` package reads -------------------------------------------------------------------------


SAMPLES = [f"oracles/{name}/model.gguf" for name in ("llama-gqa-llama3rope", "gemma3", "qwen2", "qwen3")]
SAMPLES += [f"vectors/tokenizer/ggml-vocab-{name}.gguf" for name in ("llama-spm", "starcoder")]


@pytest.mark.parametrize("name", SAMPLES)
def test_reads_what_the_gguf_package_reads(shared_dir: Path, name: str) -> None:
    compare_with_the_package(shared_dir / name)


def test_reads_a_real_model_as_the_gguf_package_does(smollm2: Path) -> None:
    compare_with_the_package(smollm2)


def compare_with_the_package(path: Path) -> None:
    reader = gguf.GGUFReader(path)
    with Gguf.open(path) as file:
        wanted = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
        assert file.metadata() == wanted
        assert [(t.name, t.shape, t.type, t.n_bytes) for t in file.tensors()] == [
            (t.name, tuple(t.shape.tolist()), t.tensor_type.value, t.n_bytes) for t in reader.tensors
        ]
        start = reader.data_offset
        assert [start + t.offset for t in file.tensors()] == [t.data_offset for t in reader.tensors]


# ---- mutants ------------------------------------------------------------------------------------------------------

OPEN_ALL = """
import os, struct, sys
from llamatw.capi.gguf import Gguf
from llamatw.errors import ModelError

mutants, path = open(sys.argv[1], "rb").read(), sys.argv[2]
fd, at, verdicts = os.open(path, os.O_RDWR | os.O_CREAT), 0, ""
while at < len(mutants):
    (n,) = struct.unpack_from("<I", mutants, at)
    os.ftruncate(fd, n)
    os.pwrite(fd, mutants[at + 4 : at + 4 + n], 0)
    at += 4 + n
    try:
        with Gguf.open(path) as file:
            file.metadata(), file.tensors()
        verdicts += "+"
    except ModelError as error:
        assert error.message
        verdicts += "-"
print(verdicts)
"""


def written_by_the_package(path: Path) -> bytes:
    """A small model of the `gguf` writer: every kind of value, three tensors."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_float32("a.float", 1.5)
    writer.add_bool("a.bool", True)
    writer.add_uint64("a.u64", 2**40)
    writer.add_token_list(["<unk>", "<s>", "hello", " world"])
    writer.add_token_scores([0.0, -1.0, -2.0, -3.0])
    writer.add_token_types([2, 3, 1, 1])
    for name, shape in (("token_embd.weight", (4, 32)), ("blk.0.attn_norm.weight", (32,)), ("output.weight", (4, 32))):
        writer.add_tensor(name, np.ones(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def verdicts(mutants: list[bytes], folder: Path) -> str:
    """One + (opened and read) or - (refused) per mutant, from a process of their own: no signal, no hang."""
    pile = folder / "mutants"
    pile.write_bytes(b"".join(struct.pack("<I", len(m)) + m for m in mutants))
    command = [sys.executable, "-c", OPEN_ALL, str(pile), str(folder / "mutant.gguf")]
    root = str(Path(__file__).resolve().parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    result = done.stdout.strip()
    assert len(result) == len(mutants)
    return result


def header_size(content: bytes) -> int:
    return content.index(b"output.weight") + len(b"output.weight") + 4 + 2 * 8 + 4 + 8


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = written_by_the_package(tmp_path / "whole.gguf")
    n_data_points = 64
    points = [*range(header_size(whole)), *np.linspace(header_size(whole), len(whole) - 1, n_data_points, dtype=int)]
    assert verdicts([whole[:n] for n in points] + [whole], tmp_path) == "-" * len(points) + "+"


EXTREMES = [0, 1, 3, 13, 64, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40]
EXTREMES += [2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 16, 2**64 - 1]


def mutate(content: bytes, n_header: int, rng: random.Random) -> bytes:
    """One to three places of the header with a bit flipped, a byte replaced, or an extreme number written over them."""
    mutant = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(n_header)
        kind = rng.randrange(4)
        if kind == 0:
            mutant[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            mutant[at] = rng.randrange(256)
        else:
            size = 4 if kind == 2 else 8
            mutant[at : at + size] = struct.pack("<Q", rng.choice(EXTREMES))[:size]
    return bytes(mutant)


def test_mutants(tmp_path: Path) -> None:
    """Every single byte of the header once at 0xff, and 1,500 random mutants."""
    whole = written_by_the_package(tmp_path / "whole.gguf")
    n, rng = header_size(whole), random.Random(20)
    mutants = [whole[:i] + b"\xff" + whole[i + 1 :] for i in range(n)]
    mutants += [mutate(whole, n, rng) for _ in range(1500)]
    result = verdicts(mutants, tmp_path)
    assert 0.2 < result.count("-") / len(result) < 0.999

"""Models cut into several files: opened as one, or refused with the reason and the names of what is missing."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from llamatw.capi.gguf import Gguf
from llamatw.errors import ModelError
from tests.gguf_bytes import ARCHITECTURE, U16, File, pair, string, tensor, u32

pytestmark = pytest.mark.usefixtures("engine_library")


def part(no: int, count: int, n_tensors: int = 3, *more: bytes, name: str | None = None) -> bytes:
    """One file of a split model with one tensor."""
    keys = [pair("split.no", U16, struct.pack("<H", no)), pair("split.count", U16, struct.pack("<H", count))]
    pairs = [*keys, u32("split.tensors.count", n_tensors), *more]
    return File([ARCHITECTURE, *pairs] if no == 0 else pairs, [tensor(name or f"t{no}", [4])], bytes(16)).bytes()


def part_path(folder: Path, no: int, count: int = 3) -> Path:
    return folder / f"m-{no + 1:05}-of-{count:05}.gguf"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The first of three good files."""
    for no in range(3):
        part_path(tmp_path, no).write_bytes(part(no, 3))
    return part_path(tmp_path, 0)


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        Gguf.open(path).close()
    return caught.value.message


def test_good(model: Path) -> None:
    with Gguf.open(model) as file:
        assert [(t.name, t.file) for t in file.tensors()] == [("t0", 0), ("t1", 1), ("t2", 2)]


def test_good_of_the_gguf_package(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama", split_max_tensors=2)
    for i in range(5):
        writer.add_tensor(f"t{i}", np.full((2, 32), i, dtype=np.float32))
    writer.write_header_to_file(tmp_path / "m.gguf")
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with Gguf.open(part_path(tmp_path, 0)) as file:
        assert [(t.name, t.shape, t.file) for t in file.tensors()] == [(f"t{i}", (32, 2), i // 2) for i in range(5)]


def test_a_count_of_one_or_none_is_a_whole_model(tmp_path: Path) -> None:
    for count in (0, 1):
        path = tmp_path / f"{count}.gguf"
        path.write_bytes(part(0, count, 1))
        Gguf.open(path).close()


def test_missing_files_are_listed(model: Path) -> None:
    part_path(model.parent, 1).unlink()
    assert "is split into 3 files, 1 of them missing: -00002-of-00003.gguf" in refusal(model)
    part_path(model.parent, 2).unlink()
    assert "2 of them missing: -00002-of-00003.gguf -00003-of-00003.gguf" in refusal(model)


def test_a_long_list_of_missing_files_is_cut(tmp_path: Path) -> None:
    path = part_path(tmp_path, 0, 1024)
    path.write_bytes(part(0, 1024))
    assert refusal(path).endswith(
        "1023 of them missing: -00002-of-01024.gguf -00003-of-01024.gguf -00004-of-01024.gguf -00005-of-01024.gguf ..."
    )


def test_limits_of_the_first_file(tmp_path: Path) -> None:
    path = part_path(tmp_path, 0, 2)
    path.write_bytes(part(0, 65535))
    assert "split.count is 65535, limit 1024" in refusal(path)
    path.write_bytes(part(7, 2))
    assert "split.no is 7, must be below split.count, 2" in refusal(path)
    path.write_bytes(part(0, 3))
    assert "its name must end in -00001-of-00003.gguf" in refusal(path)
    plain = tmp_path / "plain.gguf"
    plain.write_bytes(part(0, 2))
    assert "its name must end in -00001-of-00002.gguf" in refusal(plain)


def test_not_the_first_file(model: Path) -> None:
    assert "is file 2 of 3 of a split model: open the first one" in refusal(part_path(model.parent, 1))


OTHERS = {
    "the same file twice": (part(1, 3), "split.no is 1, must be 2"),
    "another count": (part(2, 4), "split.count is 4, that of the first file is 3"),
    "no split keys": (File().bytes(), "required key split.count is missing"),
    "another model's count": (part(2, 3, 9), "belongs to another model: key split.tensors.count is 9"),
    "another architecture": (part(2, 3, 3, string("general.architecture", "gemma3")), "belongs to another model"),
    "a tensor twice": (part(2, 3, name="t1"), "tensor t1 occurs twice"),
    "rubbish": (bytes(100), "not a GGUF file"),
    "nothing": (b"", "not a GGUF file"),
    "split.no is a string": (File([string("split.count", "3")]).bytes(), "key split.count must be u32, is str"),
}


@pytest.mark.parametrize(("content", "words"), OTHERS.values(), ids=OTHERS)
def test_a_wrong_last_file(model: Path, content: bytes, words: str) -> None:
    last = part_path(model.parent, 2)
    last.write_bytes(content)
    sentence = refusal(model)
    assert words in sentence
    assert last.name in sentence


def test_tensors_that_do_not_add_up(tmp_path: Path) -> None:
    for no in range(3):
        part_path(tmp_path, no).write_bytes(part(no, 3, 4))
    assert "split.tensors.count is 4, its 3 files have 3 tensors" in refusal(part_path(tmp_path, 0))


def test_a_link_in_a_circle(model: Path) -> None:
    last = part_path(model.parent, 2)
    last.unlink()
    last.symlink_to(last)
    assert "symbolic links" in refusal(model)

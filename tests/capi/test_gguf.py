"""Gguf and dequantize against files that the `gguf` package wrote and its own arithmetic."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from llamatw.capi.gguf import Gguf, dequantize, type_name
from llamatw.errors import ModelError, NotSupported

pytestmark = pytest.mark.usefixtures("engine_library")

VALUES = {
    "t.u8": ("uint8", 255),
    "t.i8": ("int8", -128),
    "t.u16": ("uint16", 65535),
    "t.i16": ("int16", -32768),
    "t.u32": ("uint32", 2**32 - 1),
    "t.i32": ("int32", -(2**31)),
    "t.f32": ("float32", 0.5),
    "t.bool": ("bool", True),
    "t.str": ("string", "żółw\n"),
    "t.u64": ("uint64", 2**64 - 1),
    "t.i64": ("int64", -(2**63)),
    "t.f64": ("float64", 1e300),
    "t.words": ("array", ["a", "", "çé"]),
    "t.numbers": ("array", [1, -2, 3]),
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "tiny")
    for key, (kind, value) in VALUES.items():
        getattr(writer, f"add_{kind}")(key, value)
    writer.add_tensor("a.weight", np.arange(64, dtype=np.float32).reshape(2, 32))
    writer.add_tensor("b.weight", np.zeros(3, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_every_type_of_value(path):
    with Gguf.open(path) as file:
        assert file.version == 3
        found = file.metadata()
        for key, (_, value) in VALUES.items():
            assert found[key] == value and type(found[key]) is type(value), key
            assert file.get(key) == value


def test_what_is_absent(path):
    with Gguf.open(path) as file:
        assert file.get("t.nothing") is None and file.get("t.nothing", 7) == 7
        assert file.get("t.u8\0") is None
        assert file.n_items("t.nothing") == 0 and file.n_items("t.u8") == 0


def test_long_arrays_may_be_cut(path):
    with Gguf.open(path) as file:
        assert file.metadata(max_items=2)["t.words"] == ["a", ""]
        assert file.n_items("t.words") == 3
        assert "t.words" not in file.scalars() and file.scalars()["t.u8"] == 255


def test_tensors(path):
    with Gguf.open(path) as file:
        tensors = {tensor.name: tensor for tensor in file.tensors()}
    assert tensors["a.weight"].shape == (32, 2), "fastest dimension first"
    assert (tensors["a.weight"].type_name, tensors["a.weight"].n_bytes) == ("F32", 256)
    assert (tensors["b.weight"].type_name, tensors["b.weight"].shape) == ("F16", (3,))


def test_a_closed_file_says_so(path):
    file = Gguf.open(path)
    file.close()
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.metadata()


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model at all", b"GGUF\xff\xff\xff\xff" + bytes(64)])
def test_what_is_no_model(tmp_path, content):
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.gguf"):
        Gguf.open(path)


@pytest.mark.parametrize("path", ["/does/not/exist.gguf", "/", "a\0b"])
def test_what_is_no_file(path):
    with pytest.raises(ModelError):
        Gguf.open(path)


TYPES = "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K".split()


@pytest.mark.parametrize("name", TYPES)
def test_dequantize_equals_the_gguf_package(name):
    kind = gguf.GGMLQuantizationType[name]
    n_values, n_bytes = gguf.GGML_QUANT_SIZES[kind]
    raw = np.random.default_rng(1).integers(0, 256, (1000, n_bytes), dtype=np.uint8)
    with np.errstate(all="ignore"):
        wanted = gguf.dequantize(raw, kind).reshape(-1)
    ours = dequantize(kind.value, raw)
    finite = ~np.isnan(wanted)
    assert ours.size == 1000 * n_values and type_name(kind.value) == name
    assert np.array_equal(ours.view(np.uint32)[finite], wanted.astype(np.float32).view(np.uint32)[finite])
    assert np.array_equal(np.isnan(ours), np.isnan(wanted))


def test_what_cannot_be_dequantized():
    assert type_name(999) == "type 999"
    with pytest.raises(NotSupported):
        dequantize(999, b"")
    with pytest.raises(ValueError, match="whole number"):
        dequantize(2, bytes(17))

"""llamatw.capi._abi against clib/include/llamatw.h, by the C compiler and the library's symbol table."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from llamatw import settings
from llamatw.capi import _abi, records
from llamatw.capi._lib import library, library_path

HEADER = Path(__file__).resolve().parent.parent / "clib" / "include" / "llamatw.h"


@pytest.fixture(scope="module")
def lib():
    if not Path(library_path()).exists():
        pytest.skip("the engine library has not been built")
    return library()


def declared():
    """Names of the functions in the header."""
    return set(re.findall(r"^LT_API [^;(]*?\b(lt_\w+)\(", HEADER.read_text(), re.MULTILINE))


def n_parameters():
    """function -> number of parameters, as the header has it."""
    found = re.findall(r"^LT_API [^;(]*?\b(lt_\w+)\(([^)]*)\)", HEADER.read_text(), re.MULTILINE)
    return {name: 0 if text.strip() == "void" else text.count(",") + 1 for name, text in found}


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """What the C compiler says: "lt_row" -> size, "lt_row.seq" -> (offset, size), "LT_OK" -> value."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("abi")
    source, program = folder / "layout.c", folder / "layout"
    source.write_text(_program())
    subprocess.run([compiler, "-std=c11", "-I", str(HEADER.parent), "-o", str(program), str(source)], check=True)
    lines = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout.splitlines()
    return {name: tuple(map(int, values)) for name, *values in (line.split() for line in lines)}


def _constants():
    return re.findall(r"\b(LT_[A-Z0-9_]+) = -?\d+", HEADER.read_text())


def _program():
    lines = ["#include <stdio.h>", '#include "llamatw.h"', "int main(void) {"]
    for name, struct in _abi.STRUCTS.items():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        for field in (entry[0] for entry in struct._fields_):
            where = f"offsetof({name}, {field}), sizeof((({name} *)0)->{field})"
            lines.append(f'printf("{name}.{field} %zu %zu\\n", {where});')
    lines += [f'printf("{name} %d\\n", (int){name});' for name in _constants()]
    return "\n".join([*lines, "return 0; }"])


@pytest.mark.parametrize("name", _abi.STRUCTS)
def test_struct_sizes_and_offsets(layout, name):
    struct = _abi.STRUCTS[name]
    assert layout[name] == (ctypes.sizeof(struct),)
    for field in (entry[0] for entry in struct._fields_):
        ours = getattr(struct, field)
        assert layout[f"{name}.{field}"] == (ours.offset, ours.size), f"{name}.{field}"


@pytest.mark.parametrize("kind", [_abi.Row, _abi.Out, _abi.Result, _abi.Stats])
def test_structs_in_one_call(kind):
    values, raw = [], kind.from_buffer_copy(bytes(range(1, 1 + ctypes.sizeof(kind))))
    for name, *_ in kind._fields_:
        value = getattr(raw, name)
        values += value if isinstance(value, ctypes.Array) else [getattr(value, "contents", value)]
    values = [ctypes.addressof(value) if isinstance(value, ctypes.Structure) else value for value in values]
    assert _abi.layout(kind).size == ctypes.sizeof(kind)
    assert list(_abi.layout(kind).unpack(raw)) == values


def test_every_struct_of_the_header_is_mirrored_with_all_its_fields():
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    for body, name in re.findall(r"typedef struct \{(.*?)\} (lt_\w+);", text, re.DOTALL):
        fields = re.findall(r"(\w+)(?:\[\w+\])?\s*[,;]", body)
        assert [entry[0] for entry in _abi.STRUCTS[name]._fields_] == fields, name


def test_constants(layout):
    assert {code.name: code.value for code in records.Code} == {
        name.removeprefix("LT_").removeprefix("E_"): values[0]
        for name, values in layout.items()
        if name == "LT_OK" or name.startswith("LT_E_")
    }
    flags = {name: values[0] for name, values in layout.items() if name.startswith("LT_OUT_")}
    assert {f"LT_OUT_{flag.name}": flag.value for flag in records.OutFlag} == flags
    for name in (
        *("TOK_ADD_SPECIAL", "TOK_PARSE_SPECIAL", "SAMPLE_IGNORE_EOS", "SAMPLE_NO_CACHE", "OPEN_MLOCK"),
        *("GRAMMAR_AFTER_TRIGGER", "GSTATE_COMPLETE", "GSTATE_WAITING"),
    ):
        assert layout[f"LT_{name}"] == (getattr(_abi, name),)
    limits = ("MAX_CHAIN", "MAX_BIASES", "MAX_BREAKER_IDS", "MAX_PENALTY_PROMPT", "MAX_PROBS")
    flags = ("SAMPLE_SPARE_NEWLINE", "SAMPLE_RESUME", "SAMPLE_POST_PROBS", "SAMPLE_SCORE", "SAMPLE_NO_LOGPROB")
    for name in (*flags, *limits):
        assert layout[f"LT_{name}"] == (getattr(_abi, name),)
    samplers = {name: values[0] for name, values in layout.items() if name.startswith("LT_SAMPLER_")}
    assert samplers.pop("LT_SAMPLER_COUNT") == len(_abi.SAMPLERS)
    assert {f"LT_SAMPLER_{name.upper()}": number for name, number in _abi.SAMPLERS.items()} == samplers
    kv_types = {name: values[0] for name, values in layout.items() if name.startswith("LT_KV_")}
    assert {f"LT_KV_{name.upper()}": number for name, number in _abi.KV_TYPES.items()} == kv_types
    assert tuple(_abi.KV_TYPES) == settings.KV_TYPES
    numas = {name: values[0] for name, values in layout.items() if name.startswith("LT_NUMA_")}
    assert {f"LT_NUMA_{name.upper()}": number for name, number in _abi.NUMAS.items()} == numas
    loads = {"mmap": "LT_LOAD_MMAP", "read": "LT_LOAD_READ", "direct": "LT_LOAD_DIRECT"}
    assert {loads[name]: number for name, number in _abi.LOADS.items()} == {
        name: values[0] for name, values in layout.items() if name.startswith("LT_LOAD_")
    }


def test_defaults(lib):
    options = _abi.Opts()
    lib.lt_engine_opts_init(options)
    assert {options.k_type, options.v_type} == {_abi.KV_TYPES[settings.KV_TYPE_DEFAULT]}


def test_every_function_of_the_header_is_declared_with_as_many_arguments():
    assert set(_abi.FUNCTIONS) == declared()
    assert {name: len(types) - 1 for name, types in _abi.FUNCTIONS.items()} == n_parameters()


def test_sizes_that_the_library_reports(lib):
    for name, struct in _abi.STRUCTS.items():
        assert lib.lt_sizeof(name.encode()) == ctypes.sizeof(struct), name
    assert lib.lt_sizeof(b"lt_nothing") == -1


def test_the_library_exports_the_header_and_nothing_else(lib):
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("no nm")
    output = subprocess.run([nm, "-D", "--defined-only", library_path()], check=True, capture_output=True, text=True)
    exported = {line.split()[-1].split("@")[0] for line in output.stdout.splitlines()}
    assert exported == declared()

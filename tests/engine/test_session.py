"""The format of saved slots: what was written is read, and nothing else is."""

from __future__ import annotations

import io
import random
from array import array

import msgspec
import pytest

from llamatw.engine.lanes import Memory
from llamatw.engine.session import Reader, Stamp, Writer
from llamatw.errors import BadRequest

STAMP = Stamp(model=bytes(range(32)), k_type="i16", v_type="q8_0", n_vocab=300, page_tokens=64, page_bytes=1000)
MEMORY = Memory(2**63 + 5, array("i", [(7 * i * i) % 300 for i in range(150)]))
PAGES = [random.Random(page).randbytes(1000) for page in range(3)]


def saved(stamp=STAMP, memory=MEMORY, pages=PAGES):
    file = io.BytesIO()
    writer = Writer(file, stamp, memory)
    for page in pages:
        writer.page(page)
    writer.end()
    return file.getvalue()


WHOLE = saved()


def opened(data, stamp=STAMP, max_ids=1000):
    reader = Reader(io.BytesIO(data), len(data), stamp, max_ids)
    reader.check()
    return reader


def refusal(data, *args):
    with pytest.raises(BadRequest) as refused:
        opened(data, *args)
    assert refused.value.param == "filename" and refused.value.status == 400
    return refused.value.message


def test_round_trip():
    reader = opened(WHOLE)
    assert (reader.memory, reader.n_pages, reader.size) == (MEMORY, 3, len(WHOLE))
    assert len(WHOLE) == STAMP.file_bytes(150)
    assert [reader.page(page) for page in (2, 0, 1)] == [PAGES[2], PAGES[0], PAGES[1]]


@pytest.mark.parametrize("n_ids", [0, 1, 63, 64, 65, 128])
def test_sizes(n_ids):
    memory = Memory(0, MEMORY.ids[:n_ids])
    reader = opened(saved(memory=memory, pages=PAGES[: STAMP.n_pages(n_ids)]))
    assert (reader.memory, reader.n_pages) == (memory, -(-n_ids // 64))


def test_every_truncation_and_continuation():
    for end in range(len(WHOLE)):
        refusal(WHOLE[:end])
    for more in (b"\0", WHOLE, bytes(1000)):
        refusal(WHOLE + more)
    for end in range(0, len(WHOLE), 97):  # the size that the system told may be old
        with pytest.raises(BadRequest):
            Reader(io.BytesIO(WHOLE[:end]), len(WHOLE), STAMP, 1000).check()
    with pytest.raises(BadRequest):
        Reader(io.BytesIO(WHOLE + b"\0"), len(WHOLE), STAMP, 1000).check()


def test_mutants():
    draw = random.Random(4)
    for _ in range(2000):
        data = bytearray(WHOLE)
        match draw.randrange(4):
            case 0:  # one bit
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            case 1:  # a run of random bytes
                at = draw.randrange(len(data))
                data[at : at + 8] = draw.randbytes(len(data[at : at + 8]))
            case 2:  # a piece moved
                at, size = draw.randrange(len(data) - 100), draw.randrange(1, 100)
                piece = data[at : at + size]
                del data[at : at + size]
                at = draw.randrange(len(data))
                data[at:at] = piece
            case _:  # a number of the head at its bounds
                at = draw.randrange(0, 96, 4)
                data[at : at + 4] = draw.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80"])
        if data != WHOLE:
            refusal(bytes(data))


def test_pages_change_places_with_their_digests():
    block, start = 1016, len(WHOLE) - 16 - 3 * 1016
    pages = [WHOLE[start + i * block : start + (i + 1) * block] for i in range(3)]
    assert "end" in refusal(WHOLE[:start] + pages[1] + pages[0] + pages[2] + WHOLE[-16:])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": bytes(32)}, "another model"),
        ({"k_type": "f16"}, "types i16 and q8_0, not f16 and q8_0"),
        ({"v_type": "f16"}, "types i16 and q8_0, not i16 and f16"),
        ({"n_vocab": 301}, "another shape"),
        ({"page_tokens": 32}, "another shape"),
        ({"page_bytes": 1001}, "another shape"),
    ],
)
def test_another_stamp(change, says):
    assert says in refusal(WHOLE, msgspec.structs.replace(STAMP, **change))


def test_whole_files_that_say_nonsense():
    assert "the context has room for 149" in refusal(WHOLE, STAMP, 149)
    for wrong in (300, -1, 2**31 - 1):
        ids = MEMORY.ids[:]
        ids[77] = wrong
        assert "vocabulary" in refusal(saved(memory=Memory(0, ids)))
    assert "bytes" in refusal(saved(pages=PAGES[:2]))


def test_a_file_that_changes_after_the_check():
    file = io.BytesIO(WHOLE)
    reader = Reader(file, len(WHOLE), STAMP, 1000)
    reader.check()
    other = saved(pages=[PAGES[0], PAGES[2], PAGES[2]])
    file.seek(0)
    file.write(other)
    assert reader.page(0) == PAGES[0]
    with pytest.raises(BadRequest, match="changed while it was read"):
        reader.page(1)
    file.truncate(2000)
    with pytest.raises(BadRequest, match="cut short"):
        reader.page(2)

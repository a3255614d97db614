"""What `llamatw info` says about a model file: as data, and as lines to read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from llamatw.capi.gguf import Gguf, Value
from llamatw.capi.records import TensorInfo

SHOWN_ITEMS = 6  # of an array
SHOWN_CHARS = 100  # of a string


def model_report(gguf: Gguf) -> dict[str, Any]:
    """Everything, arrays in full.  Infinite and NaN numbers become null: JSON has no word for them."""
    return {
        "version": gguf.version,
        "metadata": {key: _json_value(value) for key, value in gguf.metadata().items()},
        "tensors": [
            {"name": t.name, "type": t.type_name, "shape": list(t.shape), "n_bytes": t.n_bytes} for t in gguf.tensors()
        ],
    }


def model_lines(gguf: Gguf) -> Iterator[str]:
    metadata, tensors = gguf.metadata(SHOWN_ITEMS), gguf.tensors()
    yield f"GGUF version {gguf.version}: {len(metadata)} metadata entries, {_summary(tensors)}"
    yield ""
    yield from _columns([[_plain(key), _shown(value, gguf.n_items(key))] for key, value in metadata.items()])
    yield ""
    yield from _columns([[_plain(t.name), t.type_name, _shape(t.shape), size_text(t.n_bytes)] for t in tensors])
    yield ""
    yield from _columns(_per_type(tensors))


def size_text(n_bytes: float) -> str:
    """1536 -> "1.5 KiB"."""
    for unit in ("B", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} B" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.2f} GiB"


def _summary(tensors: Sequence[TensorInfo]) -> str:
    n_params = sum(math.prod(t.shape) for t in tensors)
    return f"{len(tensors)} tensors, {n_params:,} parameters, {size_text(sum(t.n_bytes for t in tensors))}"


def _per_type(tensors: Sequence[TensorInfo]) -> list[list[str]]:
    counts, sizes = Counter[str](), Counter[str]()
    for tensor in tensors:
        counts[tensor.type_name] += 1
        sizes[tensor.type_name] += tensor.n_bytes
    return [[name, f"{counts[name]} tensors", size_text(n_bytes)] for name, n_bytes in sizes.most_common()]


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _shown(value: Value, n_items: int = 0) -> str:
    if isinstance(value, list):
        items = ", ".join(map(_shown, value))
        more = ", ..." if n_items > len(value) else ""
        return f"[{items}{more}] ({n_items})"
    if isinstance(value, str):
        return repr(value if len(value) <= SHOWN_CHARS else value[:SHOWN_CHARS] + "...")
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _plain(name: str) -> str:
    """A name from a file, without what could command a terminal."""
    return name if name.isprintable() else repr(name)


def _json_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _columns(rows: list[list[str]]) -> Iterator[str]:
    """Left-aligned columns, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()

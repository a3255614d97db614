"""How fast text becomes tokens: megabytes a second of plain English, for each vocabulary.

    python -m bench.tokenize [GGUF or name of a model ...] [--repeats N] [--text FILE]

The text is Python's language reference, which every Python has.  Timed is the C call alone, into a buffer that is there
already, in its thread's own processor time, so that busy neighbours do not count.
"""

from __future__ import annotations

import argparse
import ctypes
import pydoc_data.topics
import statistics
import time
from pathlib import Path

from llamatw import models
from llamatw.capi._lib import check, library
from llamatw.capi.gguf import Gguf
from llamatw.capi.vocab import Vocab


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[models.DEFAULT], help="paths or names (the default model)")
    parser.add_argument("--repeats", type=int, default=9, help="of each vocabulary (%(default)s)")
    parser.add_argument("--text", type=Path, help="another text")
    wishes = parser.parse_args()
    text = wishes.text.read_bytes() if wishes.text else "\n".join(pydoc_data.topics.topics.values()).encode()
    print(f"{len(text) / 1e6:.2f} MB of text\n{'vocabulary':40} kind  tokens   MB/s: median   best")
    for name in wishes.models:
        path = models.resolve(name)
        with Gguf.open(path) as file:
            vocab = Vocab.open(file)
        with vocab:
            n_tokens, times = measure(vocab, text, wishes.repeats)
            median, best = (len(text) / 1e6 / seconds for seconds in (statistics.median(times), min(times)))
            print(f"{path.name:40} {vocab.info.kind:4} {n_tokens:8} {median:13.1f} {best:6.1f}")


def measure(vocab: Vocab, text: bytes, repeats: int) -> tuple[int, list[float]]:
    """Number of tokens; seconds of each call."""
    out = (ctypes.c_int32 * (len(text) + 8))()
    need, times = ctypes.c_size_t(), []
    with vocab.in_use() as handle:
        for _ in range(repeats):
            start = time.thread_time()
            code = library().lt_tokenize(handle, text, len(text), 0, out, len(out), ctypes.byref(need))
            times.append(time.thread_time() - start)
            check(code)
    return need.value, times


if __name__ == "__main__":
    main()

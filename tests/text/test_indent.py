"""IndentScanner: what is shown does not depend on how the text was cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamatw.text.indent import IndentScanner


def shown(pieces, n_indent):
    scanner = IndentScanner(n_indent)
    text = "".join(scanner.feed(piece) for piece in pieces)
    return text + scanner.finish(), scanner.is_short


@pytest.mark.parametrize(
    ("text", "n_indent", "want"),
    [
        ("x\n y\nz", 0, ("x\n y\nz", False)),
        ("x = 1\n    y = 2\n  z", 4, ("x = 1\n    y = 2\n", True)),
        ("no end of line", 4, ("no end of line", False)),
        ("x\n    \ty\n    z", 4, ("x\n    \ty\n    z", False)),
        ("x\n\n    y", 4, ("x\n", True)),
        ("x\n\t\ty", 2, ("x\n\t\ty", False)),
        ("x\n  ", 4, ("x\n  ", False)),
        ("x\ny\n    z", 4, ("x\n", True)),
    ],
)
def test_lines(text, n_indent, want):
    assert shown([text], n_indent) == want
    assert shown(list(text), n_indent) == want


@given(st.text("a \n\t", max_size=30), st.integers(0, 5), st.data())
def test_any_cut(text, n_indent, data):
    cut = data.draw(st.integers(0, len(text)))
    assert shown([text[:cut], text[cut:]], n_indent) == shown([text], n_indent)

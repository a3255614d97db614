"""Names of users and hubs."""

from __future__ import annotations

import pytest

from llamatw.errors import ModelError, UsageMistake
from llamatw.hub import names, token
from llamatw.settings import Remote


@pytest.mark.parametrize(
    ("text", "repo", "tag"),
    [("a/b", "a/b", ""), ("ggml-org/m_1.5-GGUF:Q4_K_M", "ggml-org/m_1.5-GGUF", "Q4_K_M"), ("a/b:f16", "a/b", "f16")],
)
def test_repositories(text: str, repo: str, tag: str) -> None:
    assert names.repository(text) == (repo, tag)
    assert names.remote(text) == Remote(repo=repo, tag=tag)


@pytest.mark.parametrize("text", ["", "a", "a b/c", *"a/ /b a/b/c ../b a/.. a/.b a/b: a/b:x/y é/b".split()])
def test_no_repositories(text: str) -> None:
    with pytest.raises(UsageMistake, match="USER/NAME"):
        names.repository(text)
    assert names.remote(text) is None
    assert names.remote("models/mistyped.gguf") is None


@pytest.mark.parametrize(
    "url",
    ["http://a/ b", *"ftp://a/b http:// http://u:p@a/b http://a/b#c http://a:x/b http://a:99999/b http://[/".split()],
)
def test_no_urls(url: str) -> None:
    with pytest.raises(UsageMistake, match="must be a URL"):
        names.web_address(url)


@pytest.mark.parametrize("path", ["", "a\0", "a\n", "x" * 241, *"/a a//b ../a a/../b . a/.hidden a\\b".split()])
def test_paths_that_lead_elsewhere(path: str) -> None:
    with pytest.raises(ModelError, match="not a name"):
        names.checked_path(path)


def test_file_names_of_urls() -> None:
    assert names.file_name("https://a/b/m%20x.gguf?sig=1") == "m x.gguf"
    assert names.file_name("https://a/download?id=3") == "model.gguf"
    for url in ("https://a/%2e%2e%2fm.gguf", "https://a/.m.gguf"):
        with pytest.raises(ModelError, match="not a name"):
            names.file_name(url)


LISTING = [
    "README.md",
    "mmproj-m-Q8_0.gguf",
    "mtp-m-Q4_K_M.gguf",
    "m-BF16.gguf",
    "m-F16.gguf",
    "m.q4_k_m.gguf",
    "Q8_0/m-Q8_0-00001-of-00002.gguf",
    "Q8_0/m-Q8_0-00002-of-00002.gguf",
]


@pytest.mark.parametrize(
    ("listing", "tag", "chosen"),
    [
        (LISTING, "", "m.q4_k_m.gguf"),
        (LISTING, "f16", "m-F16.gguf"),
        (LISTING, "Q8_0", "Q8_0/m-Q8_0-00001-of-00002.gguf"),
        (LISTING, "Q2_K", None),
        (["z-Q8_0.gguf", "a-Q6_K.gguf"], "", "z-Q8_0.gguf"),
        (["z-Q2_K.gguf", "a-Q6_K.gguf", "a-mmproj.gguf"], "", "a-Q6_K.gguf"),
        (["mmproj.gguf", "imatrix.gguf"], "", None),
        (["m-UD-Q8_K_XL.gguf"], "Q8_K_XL", "m-UD-Q8_K_XL.gguf"),
        (["aXb.gguf"], "a.b", None),
    ],
)
def test_choice(listing: list[str], tag: str, chosen: str | None) -> None:
    assert names.choose(listing, Remote(repo="a/b", tag=tag)) == chosen
    assert names.choose(reversed(listing), Remote(repo="a/b", tag=tag)) == chosen


def test_a_named_file_is_that_file() -> None:
    assert names.choose(LISTING, Remote(repo="a/b", file="mmproj-m-Q8_0.gguf")) == "mmproj-m-Q8_0.gguf"
    assert names.choose(LISTING, Remote(repo="a/b", file="Q8_0.gguf")) is None


def test_parts() -> None:
    assert names.parts("m.gguf") == ["m.gguf"]
    assert names.parts("x/m-00002-of-00002.gguf") == ["x/m-00001-of-00002.gguf", "x/m-00002-of-00002.gguf"]
    for count in ("00000", "01025"):
        with pytest.raises(ModelError, match="must be 1 to 1024"):
            names.parts(f"m-00001-of-{count}.gguf")


def test_endpoints() -> None:
    assert names.endpoint({}) == "https://huggingface.co"
    assert names.endpoint({"HF_ENDPOINT": "https://mirror/hf/"}) == "https://mirror/hf"
    assert names.endpoint({"HF_ENDPOINT": "http://a", "MODEL_ENDPOINT": "http://b"}) == "http://b"
    with pytest.raises(ModelError, match="HF_ENDPOINT must be a URL"):
        names.endpoint({"HF_ENDPOINT": "mirror"})


def test_tokens(tmp_path) -> None:
    (tmp_path / "token").write_text("of_file\n")
    home = {"HF_HOME": str(tmp_path)}
    assert token.find("given", {"HF_TOKEN": "of_environment", **home}) == "given"
    assert token.find(None, {"HF_TOKEN": "of_environment", **home}) == "of_environment"
    assert token.find(None, {"HF_TOKEN": "", **home}) == "of_file"
    assert token.find(None, {"HF_TOKEN_PATH": str(tmp_path / "none"), **home}) is None
    with pytest.raises(ModelError) as caught:
        token.find("secret\r\nX-Evil: 1", {})
    assert "secret" not in caught.value.message

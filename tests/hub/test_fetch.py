"""Fetching from a fake hub, whose downloads lie on another host, with all that can go wrong on the way."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from llamatw.hub import cache
from llamatw.settings import Remote
from tests import fake_hub
from tests.fake_hub import REPO, FakeHub
from tests.hub.conftest import HASTE, Fetcher

MODEL = "m-Q4_K_M.gguf"
DATA = random.Random(1).randbytes(300_000)
WANTED = Remote(repo=REPO)


@pytest.fixture(autouse=True)
def files(fake: FakeHub) -> None:
    fake.files |= {"README.md": b"hello", "mmproj-m-F16.gguf": b"eyes", MODEL: DATA, "m-Q8_0.gguf": b"eight"}


def test_a_model_comes_whole_and_once(fake: FakeHub, fetch: Fetcher) -> None:
    path = fetch(WANTED)
    assert path.name == MODEL
    assert path.read_bytes() == DATA
    assert fetch(WANTED) == path
    assert fetch(msgspec.structs.replace(WANTED, tag="q4_k_m")) == path
    assert [asked.path for asked in fake.downloads()] == [f"/{MODEL}"]
    assert fetch.partials() == []
    assert fetch(Remote(repo=REPO, file="mmproj-m-F16.gguf")).read_bytes() == b"eyes"


def test_goes_on_where_it_broke_off(fake: FakeHub, fetch: Fetcher) -> None:
    fake.cuts = [1000, 0, 50_000]
    assert "the connection broke off" in fetch.refusal(WANTED)
    assert [path.stat().st_size for path in fetch.partials()] == [51_000]
    assert fetch(WANTED).read_bytes() == DATA
    wishes = [asked.range for asked in fake.downloads()]
    assert wishes == [None, "bytes=1000-", "bytes=1000-", "bytes=51000-"]
    assert fetch.said == [f"fetching {MODEL} (0.3 MB, 0.1 MB are there)", f"checking {MODEL}"]


def test_tries_count_from_the_first_after_a_good_piece(fake: FakeHub, fetch: Fetcher) -> None:
    fake.files[MODEL] = random.Random(2).randbytes(8 << 20)
    fake.cuts = [3 << 19] * 5
    assert fetch(WANTED).read_bytes() == fake.files[MODEL]


def test_a_host_without_ranges_begins_anew(fake: FakeHub, fetch: Fetcher) -> None:
    fake.ranges, fake.cuts = False, [1000]
    assert fetch(WANTED).read_bytes() == DATA


def test_wrong_bytes_are_thrown_away(fake: FakeHub, fetch: Fetcher) -> None:
    """What comes has the right size."""
    fake.digests[MODEL] = "1" * 64
    sentence = fetch.refusal(WANTED)
    assert f"{MODEL} came with sha256" in sentence
    assert f"expected {'1' * 64}: it was thrown away" in sentence
    assert [path for path in fetch.base.rglob("*") if MODEL in path.name] == []


def test_files_of_git_itself_are_checked_as_well(fake: FakeHub, fetch: Fetcher) -> None:
    fake.plain.add(MODEL)
    assert fetch(WANTED).read_bytes() == DATA
    fake.files[MODEL] = DATA[::-1]
    fake.cuts = [1000, 0, 0]
    fetch.refusal(WANTED)
    [partial] = fetch.partials()
    partial.write_bytes(b"damaged on the disk")
    assert "came with git hash" in fetch.refusal(WANTED)
    assert fetch.partials() == []


def test_a_size_that_is_not_kept_to(fake: FakeHub, fetch: Fetcher) -> None:
    for size in (len(DATA) - 1, len(DATA) + 1):
        fake.sizes[MODEL] = size
        assert "has changed at its host" in fetch.refusal(WANTED)
    assert all(path.stat().st_size == 0 for path in fetch.partials())


def test_no_room(fake: FakeHub, fetch: Fetcher) -> None:
    fake.sizes[MODEL] = 1 << 60
    assert "are needed in" in fetch.refusal(WANTED)
    assert fake.downloads() == []


def test_a_stalled_download_is_tried_again(fake: FakeHub, fetch: Fetcher) -> None:
    fake.hold.clear()
    patience = msgspec.structs.replace(HASTE, stall_s=0.2, n_tries=2)
    assert "nothing came for 0.2 s" in fetch.refusal(WANTED, patience)
    fake.hold.set()
    assert fetch(WANTED).read_bytes() == DATA
    assert fake.downloads()[-1].range is not None


def test_the_token_goes_to_the_hub_alone(fake: FakeHub, fetch: Fetcher) -> None:
    fake.token = "hf_secret"
    assert "needs a token (401)" in fetch.refusal(WANTED)
    wrong = fetch.refusal(msgspec.structs.replace(WANTED, token="hf_wrong"))
    assert "does not accept this token" in wrong
    assert "hf_wrong" not in wrong
    assert fetch(msgspec.structs.replace(WANTED, token="hf_secret")).read_bytes() == DATA
    assert {asked.token for asked in fake.downloads()} == {None}
    assert {asked.token for asked in fake.asked if asked.host == "hub"} == {None, "Bearer hf_wrong", "Bearer hf_secret"}


def test_the_token_stays_with_its_port_and_scheme(fake: FakeHub, fetch: Fetcher) -> None:
    """The same address, another port."""
    fake.redirect = f"http://127.0.0.1:{fake.store.server_port}/{MODEL}"
    fetch(msgspec.structs.replace(WANTED, token="hf_secret"))
    assert [asked.token for asked in fake.downloads()] == [None]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("file:///etc/passwd", "redirects to something that is no URL"),
        ("http://user:password@localhost/x", "redirects to something that is no URL"),
        ("", "more than 10 redirects"),
    ],
)
def test_redirects_that_are_not_followed(fake: FakeHub, fetch: Fetcher, target: str, words: str) -> None:
    fake.redirect = target or f"{fake.endpoint}/{REPO}/resolve/main/{MODEL}"
    assert words in fetch.refusal(WANTED)
    assert fake.downloads() == []


def test_a_list_that_goes_on_elsewhere(fake: FakeHub, fetch: Fetcher) -> None:
    fake.next_page = fake.store_url
    assert "continues its list of files at another host" in fetch.refusal(WANTED)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ([403], "agree to the terms"),
        ([404], "no such model or file"),
        ([418], "unexpected status 418"),
        ([429] * 3, "answers 429"),
        ([500] * 3, "answers 500"),
    ],
)
def test_statuses_in_words(fake: FakeHub, fetch: Fetcher, status: list[int], words: str) -> None:
    fake.status = list(status)
    assert words in fetch.refusal(WANTED)
    assert fake.status == []


def test_a_busy_hub_is_asked_again(fake: FakeHub, fetch: Fetcher) -> None:
    fake.status = [429, 503]
    assert fetch(WANTED).read_bytes() == DATA
    assert sum("trying again" in line for line in fetch.said) == 2


def test_what_is_in_the_cache_serves_when_the_hub_says_no(fake: FakeHub, fetch: Fetcher) -> None:
    path = fetch(WANTED)
    for status in (500, 401, 404):
        fake.status = [status]
        assert fetch(WANTED) == path
    assert "taking what is in the cache" in fetch.said[-1]
    fake.hub.shutdown()
    fake.hub.server_close()
    assert fetch(WANTED) == path
    assert "cannot be reached" in fetch.refusal(Remote(repo=REPO, tag="Q8_0"))


def test_a_choice_that_is_not_there_names_what_is(fake: FakeHub, fetch: Fetcher) -> None:
    sentence = fetch.refusal(Remote(repo=REPO, tag="Q3_K"))
    assert f"no such file; the repository has {MODEL}, m-Q8_0.gguf" in sentence
    assert "no such model" in fetch.refusal(Remote(repo="someone/else"))


def test_a_split_model_comes_with_all_parts(fake: FakeHub, fetch: Fetcher) -> None:
    parts = {f"Q6_K/m-Q6_K-{no:05}-of-00003.gguf": bytes([no]) * 1000 for no in (1, 2, 3)}
    fake.files |= parts
    fake.cuts = [1000, 500]
    path = fetch(Remote(repo=REPO, tag="Q6_K"))
    assert path.name == "m-Q6_K-00001-of-00003.gguf"
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == {
        name.partition("/")[2]: data for name, data in parts.items()
    }
    assert fetch(Remote(repo=REPO, file="Q6_K/m-Q6_K-00002-of-00003.gguf")) == path
    assert cache.find(path.parents[2], Remote(repo=REPO, file="Q6_K/m-Q6_K-00002-of-00003.gguf")) == path
    del fake.files["Q6_K/m-Q6_K-00002-of-00003.gguf"]
    (path.parents[1] / "manifest.json").unlink()
    assert "m-Q6_K-00002-of-00003.gguf is not there" in fetch.refusal(Remote(repo=REPO, tag="Q6_K"))


def test_a_new_version_replaces_the_old_one(fake: FakeHub, fetch: Fetcher) -> None:
    old, other = fetch(WANTED), fetch(Remote(repo=REPO, tag="Q8_0"))
    fake.files[MODEL] = DATA[::-1]
    new = fetch(WANTED)
    assert new.read_bytes() == DATA[::-1]
    assert not old.exists()
    assert other.exists()
    new.write_bytes(b"cut off")
    assert fetch(WANTED).read_bytes() == DATA[::-1]


@pytest.mark.parametrize("path", "../../../evil.gguf /evil.gguf a/../../evil.gguf .ssh/evil.gguf a\\evil.gguf".split())
def test_names_that_lead_out_of_the_cache(fake: FakeHub, fetch: Fetcher, tmp_path: Path, path: str) -> None:
    fake.files = {path: DATA}
    assert "not a name that a model's file can have" in fetch.refusal(WANTED)
    assert not list(tmp_path.rglob("*evil*"))


def test_a_hub_that_is_none(fake: FakeHub, fetch: Fetcher) -> None:
    fake.files = {"m.gguf": b""}
    assert "does not say what m.gguf holds" in fetch.refusal(WANTED)
    fake.status = [200]
    assert "does not answer as a hub does" in fetch.refusal(WANTED)


# ---- a URL of its own ------------------------------------------------------------------------------------------------


def test_a_url_is_fetched_once_and_again_when_it_changes(fake: FakeHub, fetch: Fetcher) -> None:
    wanted = Remote(url=fake_hub.url(fake, MODEL) + "?key=secret")
    path = fetch(wanted)
    assert (path.name, path.read_bytes()) == (MODEL, DATA)
    assert fetch(wanted) == path
    assert [asked.range for asked in fake.downloads()] == ["bytes=0-0", None, "bytes=0-0"]
    fake.files[MODEL] = DATA[::-1]
    assert fetch(wanted).read_bytes() == DATA[::-1]
    assert not path.exists()
    fake.status = [404]
    assert fetch(wanted).read_bytes() == DATA[::-1]


def test_a_url_that_changes_between_two_tries(fake: FakeHub, fetch: Fetcher) -> None:
    wanted = Remote(url=fake_hub.url(fake, MODEL))
    fake.cuts = [1000, 1000, 1000]
    fetch.refusal(wanted)
    assert [path.stat().st_size for path in fetch.partials()] == [3000]
    fake.files[MODEL] = DATA[::-1]
    assert fetch(wanted).read_bytes() == DATA[::-1]


def test_a_url_that_changes_once_its_size_is_known(fake: FakeHub, fetch: Fetcher) -> None:
    wanted = Remote(url=fake_hub.url(fake, MODEL))
    fake.changes[MODEL] = DATA[::-1]
    assert "has changed at its host" in fetch.refusal(wanted)
    assert fetch(wanted).read_bytes() == DATA[::-1]


@pytest.mark.parametrize(("etags", "ranges"), [(False, True), (True, False), (False, False)])
def test_a_url_of_a_plain_server(fake: FakeHub, fetch: Fetcher, etags: bool, ranges: bool) -> None:
    fake.etags, fake.ranges, fake.cuts = etags, ranges, [] if not ranges else [1000]
    assert fetch(Remote(url=fake_hub.url(fake, MODEL))).read_bytes() == DATA


def test_a_split_url(fake: FakeHub, fetch: Fetcher) -> None:
    fake.files = {f"m-{no:05}-of-00002.gguf": bytes([no]) * 1000 for no in (1, 2)}
    path = fetch(Remote(url=fake_hub.url(fake, "m-00001-of-00002.gguf") + "?key=1"))
    assert sorted(file.name for file in path.parent.glob("*.gguf")) == sorted(fake.files)


def test_a_url_of_nothing(fake: FakeHub, fetch: Fetcher) -> None:
    assert "no such model or file (404)" in fetch.refusal(Remote(url=fake_hub.url(fake, "none.gguf")))
    fake.files["m.gguf"] = b""
    assert "does not say how large" in fetch.refusal(Remote(url=fake_hub.url(fake, "m.gguf")))

"""The table of flags: environment, refusals, nearest spellings, help, docs/flags.md.  For effects see compat.txt."""

from __future__ import annotations

from pathlib import Path

import pytest

from llamatw.errors import UsageMistake
from llamatw.flags.help import markdown, usage
from llamatw.flags.parse import parse
from llamatw.flags.refused import REFUSED
from llamatw.flags.table import FLAGS, GROUPS
from llamatw.service import check_web
from llamatw.settings import Cors, Override, Positions, Remote
from tests.test_options import parse as settings_of
from tests.test_options import refusal

ROOT = Path(__file__).parent.parent


def test_spellings_are_nobody_elses() -> None:
    served = [word for flag in FLAGS for word in (*flag.spellings, *flag.off)]
    refused = [word for entry in REFUSED for word in entry.names]
    assert len(set(served + refused)) == len(served + refused)
    variables = [entry.env for entry in [*FLAGS, *REFUSED] if entry.env]
    assert len(set(variables)) == len(variables)


def test_help_and_docs_show_every_flag() -> None:
    text = usage()
    for _, flags in GROUPS:
        for flag in flags:
            assert all(word in text for word in (*flag.spellings, *flag.off)), flag.name
            assert flag.env is None or flag.env in text
    assert (ROOT / "docs" / "flags.md").read_text(encoding="utf-8") == markdown(), "make flags"


def test_the_flags_that_readme_names_exist() -> None:
    known = {word for flag in FLAGS for word in (*flag.spellings, *flag.off)}
    rows = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| `-")]
    assert len(rows) > 15
    for row in rows:
        assert set(row.split("|")[1].replace("`", "").replace(",", " ").split()) <= known, row


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if flag.value], ids=lambda flag: flag.name)
def test_a_value_that_cannot_be(flag) -> None:
    if flag.bare is None:
        assert f"--{flag.name} needs a value" in refusal(f"--{flag.name}")
    assert settings_of().web.timeout_s == 600


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if not flag.value], ids=lambda flag: flag.name)
def test_switches_take_no_value(flag) -> None:
    assert f"--{flag.name} takes no value" in refusal(f"--{flag.name}=1")


@pytest.mark.parametrize("refused", REFUSED, ids=lambda entry: entry.names[0])
def test_refused_flags_say_why(refused) -> None:
    for name in refused.names:
        if refused.takes_value or not refused.is_granted:
            words = [name, "7777"] if refused.takes_value else [name]
            assert refusal(*words) == f"twistd llama: {name} is not supported: {refused.reason}"
        for value in refused.granted:
            assert settings_of(name, value, "-np", "3").engine.n_seqs == 3
        if refused.is_granted:
            assert settings_of(name, "-np", "3").engine.n_seqs == 3


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("--ctx-sise", "--ctx-size"),
        ("--ctxsize", "--ctx-size"),  # not its older spelling with an underscore
        ("--prot", "--port"),  # not --prio, which has as many letters in common
        ("--temprature", "--temperature"),
        ("-npp", "-np"),
        ("--no-slot", "--no-slots"),
    ],
)
def test_unknown_flags_name_the_nearest(word, nearest) -> None:
    assert refusal(word) == f"twistd llama: unknown flag {word}; the nearest known one is {nearest}"


# ---- environment -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["true", "1", "on", "enabled", "TRUE"])
def test_switches_in_the_environment(word) -> None:
    assert parse([], {"LLAMA_ARG_ENDPOINT_METRICS": word})["metrics"] is True


@pytest.mark.parametrize("word", ["false", "0", "off", "disabled"])
def test_switches_off_in_the_environment(word) -> None:
    values = parse([], {"LLAMA_ARG_ENDPOINT_SLOTS": word, "LLAMA_ARG_MMAP": word})
    assert (values["slots"], values["mmap"]) == (False, False)


@pytest.mark.parametrize("word", ["", "1", "true"])
def test_variables_that_say_no_by_being_there(word) -> None:
    values = parse([], {"LLAMA_ARG_NO_MMAP": word, "LLAMA_ARG_NO_WEBUI": word, "LLAMA_ARG_NO_ENDPOINT_SLOTS": word})
    assert (values["mmap"], values["ui"], values["slots"]) == (False, False, False)
    assert parse(["--mmap"], {"LLAMA_ARG_NO_MMAP": word})["mmap"] is True
    assert parse([], {"LLAMA_ARG_WEBUI": "0"})["ui"] is False


def test_the_command_line_beats_the_environment() -> None:
    environment = {"LLAMA_ARG_CTX_SIZE": "7", "LLAMA_ARG_N_PARALLEL": "3", "LLAMA_API_KEY": "a,b", "HOME": "/x"}
    values = parse(["-c", "9", "--api-key", "c"], environment)
    assert (values["ctx-size"], values["parallel"], values["api-key"]) == (9, 3, ("c",))
    assert parse([], environment)["api-key"] == ("a", "b")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LLAMA_ARG_CTX_SIZE", "x", "LLAMA_ARG_CTX_SIZE must be a whole number, not 'x'"),
        ("LLAMA_ARG_MLOCK", "yes", "LLAMA_ARG_MLOCK must be one of true, 1, on"),
        ("LLAMA_ARG_CTX_SISE", "1", "unknown variable LLAMA_ARG_CTX_SISE; the nearest known one is LLAMA_ARG_CTX_SIZE"),
        ("LLAMA_ARG_N_GPU_LAYERS", "9", "LLAMA_ARG_N_GPU_LAYERS is not supported: this build computes"),
        ("LLAMA_ARG_EMBEDDINGS", "1", "LLAMA_ARG_EMBEDDINGS is not supported"),
        ("LLAMA_ARG_NO_MMAP", "0", "LLAMA_ARG_NO_MMAP says no by being there; LLAMA_ARG_MMAP takes true and false"),
        ("LLAMA_ARG_NO_METRICS", "1", "unknown variable LLAMA_ARG_NO_METRICS"),
    ],
)
def test_mistakes_in_the_environment(name, value, says) -> None:
    with pytest.raises(UsageMistake) as error:
        parse([], {name: value})
    assert says in error.value.message


def test_variables_that_contradict() -> None:
    with pytest.raises(UsageMistake, match="LLAMA_ARG_NO_MMAP and LLAMA_ARG_MMAP were given: one is enough"):
        parse([], {"LLAMA_ARG_MMAP": "1", "LLAMA_ARG_NO_MMAP": "1"})


def test_granted_variables() -> None:
    assert parse([], {"LLAMA_ARG_N_GPU_LAYERS": "0", "LLAMA_ARG_EMBEDDINGS": "false"})["parallel"] == 4


# ---- what flags come to ------------------------------------------------------------------------------------------


def test_the_smaller_batch() -> None:
    assert settings_of("-ub", "64").engine.n_batch == 64
    assert settings_of("-ub", "64", "-b", "32").engine.n_batch == 32
    assert settings_of("-b", "2048", "-ub", "512").engine.n_batch == 512


def test_attention_has_one_kind() -> None:
    for words in (["-fa"], ["-fa", "on"], ["-fa", "auto"], ["-fa", "-np", "4"]):
        assert settings_of(*words).engine.n_seqs == 4
    assert "--flash-attn must be one of on, auto" in refusal("-fa", "off")


def test_models_from_afar(tmp_path) -> None:
    remote = settings_of("-hf", "a/b:Q8_0", "-hft", "secret").engine.remote
    assert remote == Remote(repo="a/b", tag="Q8_0", token="secret")
    assert settings_of("-hf", "a/b:Q8_0").web.aliases == ("a/b:Q8_0",)
    assert settings_of("-hf", "a/b:Q8_0", "-a", "x").web.aliases == ("x",)
    assert settings_of("-hfr", "a/b", "-hff", "x/y.gguf").engine.remote == Remote(repo="a/b", file="x/y.gguf")
    assert settings_of("-mu", "https://a/b.gguf").engine.remote == Remote(url="https://a/b.gguf")
    assert settings_of("--offline").engine.offline
    assert settings_of().engine.remote is None
    environment = {"LLAMA_ARG_HF_REPO": "a/b", "HF_TOKEN": "x", "LLAMA_ARG_OFFLINE": "1", "LLAMA_ARG_HF_FILE": "c"}
    values = parse([], environment)
    assert [values[name] for name in ("hf-repo", "hf-token", "offline", "hf-file")] == ["a/b", "x", True, "c"]
    assert parse([], {"LLAMA_ARG_MODEL_URL": "http://a/b"})["model-url"] == "http://a/b"
    assert "--hf-repo must be USER/NAME" in refusal("-hf", "../b")
    assert "--model-url must be a URL" in refusal("-mu", "b.gguf")
    assert "--hf-file needs --hf-repo" in refusal("-hff", "b.gguf")
    assert "give one" in refusal("-hf", "a/b:Q8_0", "-hff", "b.gguf")
    assert "--model and --hf-repo were given" in refusal("-m", __file__, "-hf", "a/b")
    assert "--hf-repo and --model-url were given" in refusal("-mu", "http://a/b", "-hf", "a/b")


def test_positions() -> None:
    found = settings_of("--rope-scaling", "yarn", "--rope-freq-scale", "0.25", "--yarn-beta-fast", "8").engine.positions
    assert found == Positions(scaling="yarn", factor=4.0, beta_fast=8.0)
    unset = "--rope-freq-base 0 --rope-freq-scale 0 --yarn-orig-ctx 0 --yarn-ext-factor -1 --yarn-beta-slow -1"
    assert settings_of(*unset.split()).engine.positions == Positions()
    assert "two spellings" in refusal("--rope-scale", "2", "--rope-freq-scale", "0.5")
    assert "contradict" in refusal("--rope-scaling", "none", "--rope-scale", "2")


def test_overrides() -> None:
    words = ["--override-kv", "a.b=int:-3,c=float:0.5", "--override-kv", "d=bool:true", "--override-kv", "e=str:x:y=z"]
    pairs = {"a.b": -3, "c": 0.5, "d": True, "e": "x:y=z"}
    assert settings_of(*words).engine.overrides == tuple(Override(key=key, value=value) for key, value in pairs.items())
    for bad in (
        "a",
        "a=int",
        "=int:3",
        "a=int:x",
        "a=bool:1",
        "a=u8:3",
        "a=float:nan",
        "a" * 128 + "=int:1",
        "a=str:" + "x" * 128,
    ):
        assert "--override-kv must" in refusal("--override-kv", bad)


def test_listening_and_access() -> None:
    words = "--host 127.0.0.1,unix:/s --host ::1 --reuse-port --api-prefix /a/b/ --allowed-hosts x.org --cors-origins a://b,localhost"
    web = settings_of(*words.split(), "--no-cors-credentials", "--cors-methods", "GET").web
    assert (web.hosts, web.reuse_port) == (("127.0.0.1", "unix:/s", "::1"), True)
    assert (web.api_prefix, web.allowed_hosts) == ("/a/b", ("x.org",))
    assert web.cors == Cors(origins=("a://b", "localhost"), methods=("GET",), credentials=False)
    for words in (
        "--api-prefix a",
        "--api-prefix /a/../b",
        "--api-prefix /a?b",
        "--cors-origins example.org",
        "--cors-headers a:b",
    ):
        assert words.split()[0] in refusal(*words.split())
    assert "need each other" in refusal("--ssl-key-file", __file__)
    assert "No such file" in refusal("--ssl-key-file", "/no/such/file", "--ssl-cert-file", __file__)


def test_aliases() -> None:
    assert settings_of("-a", "b, a,b").web.aliases == ("a", "b")
    assert settings_of("--tags", "x,y").web.tags == ("x", "y")


def test_chat_templates(tmp_path) -> None:
    path = tmp_path / "t.jinja"
    path.write_text("{{ messages }}")
    for words in (
        ["--chat-template", str(path)],
        ["--chat-template-file", str(path)],
        ["--chat-template", "{{ messages }}"],
    ):
        assert settings_of(*words).web.chat_template == "{{ messages }}"
    assert settings_of("--chat-template", "llama3").web.chat_template == "llama3"
    assert settings_of("--no-jinja").web.jinja is False
    assert "give one" in refusal("--chat-template", "llama3", "--chat-template-file", str(path))
    assert "No such file" in refusal("--chat-template-file", str(tmp_path / "none"))
    with pytest.raises(SystemExit, match="--chat-template must be a file, Jinja, or one of"):
        check_web(settings_of("--chat-template", "nope").web)


def test_defaults_of_requests(tmp_path) -> None:
    words = "--temp 0.5 --top-k 3 -s 7 --keep -1 --repeat-penalty 1.2 --ignore-eos --no-cache-prompt"
    web = settings_of(*words.split()).web
    assert web.defaults == {
        "n_keep": -1,
        "seed": 7,
        "temperature": 0.5,
        "top_k": 3,
        "repeat_penalty": 1.2,
        "ignore_eos": True,
        "cache_prompt": False,
    }
    check_web(web)
    for words in (["--temp", "1e9"], ["--top-k", "-5"], ["--seed", "-7"]):
        with pytest.raises(SystemExit, match="must be a"):
            check_web(settings_of(*words).web)
    assert "must be a finite number" in refusal("--temp", "nan")
    assert "contradict" in refusal("--grammar", "root ::= x", "-j", "{}")
    assert "give one" in refusal("-j", "{}", "-jf", str(_written(tmp_path, "{}")))
    assert "must be a JSON object" in refusal("-j", "[")
    assert settings_of("-l", "15043+1.5", "-l", "7-2").web.defaults["logit_bias"] == [[15043, 1.5], [7, -2.0]]
    assert "--logit-bias must be TOKEN+BIAS" in refusal("-l", "x+1")


def _written(folder: Path, text: str) -> Path:
    path = folder / "file.json"
    path.write_text(text)
    return path

"""Flags of `twistd llama`."""

from __future__ import annotations

import os

import pytest

from llamatw import __version__
from llamatw.options import Options
from llamatw.settings import KV_TYPE_DEFAULT, MAX_DRAFT, SystemPrompt


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF")
    return str(path)


def parse(*argv):
    options = Options()
    options.parseOptions(list(argv))
    return options.settings


def refusal(*argv):
    with pytest.raises(SystemExit) as exit_:
        parse(*argv)
    line = exit_.value.code
    assert isinstance(line, str), "a text makes exit status 1 and goes to standard error"
    assert "\n" not in line
    return line


def test_defaults():
    settings = parse()
    assert settings.engine.model_path == ""
    assert (settings.engine.n_ctx, settings.engine.n_seqs, settings.engine.n_batch) == (None, 4, 512)
    assert (settings.web.hosts, settings.web.port, settings.web.n_predict) == (("127.0.0.1",), 8080, -1)
    assert settings.web.api_keys == ()
    assert settings.engine.k_type == settings.engine.v_type == KV_TYPE_DEFAULT


def test_short_help(capsys):
    with pytest.raises(SystemExit) as exit_:
        parse("-h")
    assert exit_.value.code in (None, 0)
    assert "--ctx-size" in capsys.readouterr().out


def test_every_flag(model, tmp_path):
    words = f"-m {model} -c 1024 -np 2 -b 64 -t 3 -tb 5 --host ::1 --port 0 --path {tmp_path} -a name -n 7 -to 9 -cb -v"
    settings = parse(*words.split(), "--step-target-ms", "20", "--api-key", "a,b")
    engine, web = settings.engine, settings.web
    assert (engine.model_path, engine.n_ctx, engine.n_seqs, engine.n_batch) == (model, 1024, 2, 64)
    assert (engine.n_threads, engine.n_threads_batch, engine.step_target_ms) == (3, 5, 20.0)
    assert (web.hosts, web.port, web.path, web.aliases) == (("::1",), 0, str(tmp_path), ("name",))
    assert (web.n_predict, web.timeout_s, web.verbose, web.api_keys) == (7, 9, True, ("a", "b"))


def test_flags_of_routes():
    web = parse().web
    assert (web.props, web.spm_infill, web.prefills) == (False, False, True)
    web = parse("--props", "--spm-infill", "--no-prefill-assistant").web
    assert (web.props, web.spm_infill, web.prefills) == (True, True, False)
    assert parse("--prefill-assistant").web.prefills
    assert not parse("--prefill-assistant", "--no-prefill-assistant").web.prefills, "the last one counts"


@pytest.mark.parametrize("flag", ["-spf", "--system-prompt-file"])
def test_system_prompt_file(tmp_path, flag):
    path = tmp_path / "system.json"
    path.write_text('{"prompt": "be nice", "anti_prompt": "User:"}')
    assert parse(flag, str(path)).web.system_prompt == SystemPrompt(prompt="be nice", anti_prompt="User:")
    path.write_text('{"prompt": 5}')
    assert "--system-prompt-file" in refusal(flag, str(path))
    assert "No such file" in refusal(flag, str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        (["--model", "smollm2-135m"], "engine.model_path", "smollm2-135m"),
        (["--ctx-size=0"], "engine.n_ctx", 0),
        (["--ctx_size", "5"], "engine.n_ctx", 5),
        (["--parallel", "3"], "engine.n_seqs", 3),
        (["-np", "3"], "engine.n_seqs", 3),
        (["-t", "-1"], "engine.n_threads", 0),
        (["-t", "4", "-tb", "-1"], "engine.n_threads_batch", 0),
        (["--threads-batch", "3"], "engine.n_threads_batch", 3),
        (["--n-predict", "-1"], "web.n_predict", -1),
        (["-cram", "100"], "engine.cache_mib", 100),
        (["-np", "1"], "engine.cache_mib", None),
        (["--context-shift"], "engine.context_shift", True),
        (["--max-queue", "0"], "engine.max_queue", 0),
        (["--max-queue-tokens", "99"], "engine.max_queue_tokens", 99),
        (["--spec-type", "none"], "engine.n_draft", 0),
        (["--spec-type", "ngram-simple"], "engine.n_draft", MAX_DRAFT),
        (["--spec-draft-n-max", "3"], "engine.n_draft", 3),
        (["-n", "-1"], "web.n_predict", -1),
        (["--predict", "4"], "web.n_predict", 4),
        (["-a", "-np"], "web.aliases", ("-np",)),
        (["-a", "-ngl"], "web.aliases", ("-ngl",)),
        (["--alias", "--lora"], "web.aliases", ("--lora",)),
        (["--api-key", "-np", "--api-key", "b"], "web.api_keys", ("-np", "b")),
        (["-ctk", "q8_0"], "engine.k_type", "q8_0"),
        (["--cache-type-k=i16"], "engine.k_type", "i16"),
        (["-ctv", "bf16"], "engine.v_type", "bf16"),
        (["-ctv", "f32", "--cache-type-v", "f16"], "engine.v_type", "f16"),
        (["--mlock"], "engine.mlock", True),
        (["--mlock"], "engine.load", "mmap"),
        (["--numa", "isolate"], "engine.numa", "isolate"),
        (["--numa=numactl"], "engine.numa", "numactl"),
        (["--numa"], "engine.numa", "distribute"),
        (["--numa", "-np", "3"], "engine.numa", "distribute"),
        (["--numa", "-np", "3"], "engine.n_seqs", 3),
        (["-a", "--numa", "-np", "3"], "engine.numa", "none"),
        (["-np", "3"], "engine.numa", "none"),
        (["--no-mmap"], "engine.load", "read"),
        (["--metrics"], "web.metrics", True),
        (["-np", "1"], "web.metrics", False),
        (["--no-mmap", "--mlock"], "engine.mlock", True),
        (["-lm", "none"], "engine.load", "read"),
        (["-lm", "mlock"], "engine.load", "read"),
        (["-lm", "mlock"], "engine.mlock", True),
        (["-lm", "mmap+mlock"], "engine.load", "mmap"),
        (["--load-mode=mmap+mlock", "--mlock"], "engine.mlock", True),
        (["--load-mode=dio", "--no-mmap"], "engine.load", "direct"),
        (["--load-mode", "auto", "--mlock"], "engine.mlock", True),
        (["--load-mode", "auto"], "engine.load", "mmap"),
        (["-np", "1"], "engine.mlock", False),
        (["--timeout", "3", "-to", "4"], "web.timeout_s", 4),
    ],
)
def test_spellings(argv, field, value):
    part, name = field.split(".")
    assert getattr(getattr(parse(*argv), part), name) == value


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["--nope"], "--nope"),
        (["-z"], "-z"),
        (["extra"], "extra"),
        (["--port"], "--port"),
        (["-np"], "--parallel"),
        (["-np", "x"], "--parallel"),
        (["-np", "0"], "--parallel"),
        (["-np", "257"], "--parallel"),
        (["-c", "-1"], "--ctx-size"),
        (["-c", "1e3"], "--ctx-size"),
        (["-b", "0"], "--batch-size"),
        (["-t", "0"], "--threads"),
        (["-n", "-3"], "--n-predict"),
        (["-n", "9" * 5000], "--n-predict"),
        (["--port", "65536"], "--port"),
        (["-to", "0"], "--timeout"),
        (["-m", "/no/such/file.gguf"], "/no/such/file.gguf"),
        (["--path", "/no/such/dir"], "/no/such/dir"),
        (["--slot-save-path", "/no/such/dir"], "--slot-save-path /no/such/dir"),
        (["--slot-save-path", "/dev/null"], "--slot-save-path /dev/null"),
        (["--api-key", " , "], "--api-key"),
        (["--api-key-file", "/no/such/file"], "/no/such/file"),
        (["-ctk", "q4_0"], "--cache-type-k must be one of f32, f16, bf16, i16, q8_0, not 'q4_0'"),
        (["-ctv", "iq4_nl"], "--cache-type-v must be one of f32, f16, bf16, i16, q8_0, not 'iq4_nl'"),
        (["-ctv", ""], "--cache-type-v"),
        (["--numa", "everywhere"], "--numa must be one of none, distribute, isolate, numactl, not 'everywhere'"),
        (["-lm", "slow"], "--load-mode must be one of auto, none, mmap, mlock, mmap+mlock, dio, not 'slow'"),
        (["-lm", "mmap", "--mlock"], "--mlock and --load-mode mmap contradict"),
        (["--no-mmap", "-lm", "mmap+mlock"], "--no-mmap and --load-mode mmap+mlock contradict"),
        (["-lm", "dio", "--mlock"], "--mlock and --load-mode dio contradict"),
        (["-ctk"], "--cache-type-k"),
        (["-ngl", "9"], "-ngl is not supported: this build computes on the processor"),
        (["--mmproj", "x"], "--mmproj is not supported"),
        (["--lora=x"], "--lora is not supported"),
        (["-np", "2", "--spec-type", "draft-eagle3"], "--spec-type"),
    ],
)
def test_mistakes_are_one_line(argv, names):
    assert names in refusal(*argv)


def test_directories_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slots").mkdir()
    assert parse("--slot-save-path", "slots", "--path", ".").web.slot_save_path == str(tmp_path / "slots")
    assert parse("--path", ".").web.path == str(tmp_path) and parse().web.slot_save_path is None


def test_key_file(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("one\n\n# not this\n  two words  \n")
    assert parse("--api-key-file", str(keys), "--api-key", "three").web.api_keys == ("three", "one", "two words")
    keys.write_text("\n")
    assert "no key" in refusal("--api-key-file", str(keys))
    keys.write_bytes(b"\xff\xfe")
    assert str(keys) in refusal("--api-key-file", str(keys))


def test_version(capsys):
    with pytest.raises(SystemExit) as exit_:
        parse("--version")
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"llamatw {__version__}\n"


def test_models_that_are_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, kind in (
        (tmp_path, "a directory"),
        (tmp_path / "pipe", "a pipe or device"),
        ("/dev/zero", "a pipe or device"),
    ):
        assert refusal("-m", str(path)) == f"twistd llama: --model {path}: is {kind}, must be a GGUF file"
    assert "no such file, and not a known name" in refusal("-m", str(tmp_path / "none"))

"""Flags about listening, access, what is served, chat and logs."""

from __future__ import annotations

from llamatw.flags.kinds import (
    Flag,
    contents,
    directory,
    key_file,
    keys,
    readable,
    variable,
    whole,
    words,
)

LISTENING = [
    Flag(
        name="host",
        value="WHERE",
        kind=words,
        repeats=True,
        default=("127.0.0.1",),
        env=variable("HOST"),
        help="address, unix:PATH, PATH.sock, or systemd:NAME or systemd:0 for a socket from systemd; "
        "several by commas or by repeating",
    ),
    Flag(
        name="port",
        value="N",
        kind=whole(0, 65535),
        default=8080,
        env=variable("PORT"),
        help="port to listen on; 0: any free one",
    ),
    Flag(
        name="reuse-port", default=False, env=variable("REUSE_PORT"), help="let other processes listen on the same port"
    ),
    Flag(
        name="ssl-key-file",
        value="FILE",
        kind=readable,
        env=variable("SSL_KEY_FILE"),
        help="private key, PEM: speak TLS",
    ),
    Flag(
        name="ssl-cert-file",
        value="FILE",
        kind=readable,
        env=variable("SSL_CERT_FILE"),
        help="certificate and those that it hangs on, PEM",
    ),
    Flag(
        name="timeout",
        also=("-to",),
        value="S",
        kind=whole(1, 86_400),
        default=600,
        env=variable("TIMEOUT"),
        help="seconds that a request may be silent while it comes, or its reader while it is answered",
    ),
]

ACCESS = [
    Flag(
        name="api-key",
        value="KEY",
        kind=keys,
        repeats=True,
        default=(),
        env="LLAMA_API_KEY",
        help="key that clients must send; several by commas or by repeating",
    ),
    Flag(
        name="api-key-file",
        value="FILE",
        kind=key_file,
        repeats=True,
        default=(),
        env=variable("API_KEY_FILE"),
        help="file with one API key a line; lines that start with # are left out",
    ),
    Flag(
        name="allowed-hosts",
        value="NAMES",
        kind=words,
        repeats=True,
        default=(),
        help="names by which a server on a loopback address may be asked, beside localhost: of a proxy in front of it",
    ),
    Flag(
        name="cors-origins",
        value="ORIGINS",
        kind=words,
        default=("*",),
        env=variable("CORS_ORIGINS"),
        help="pages that may use the server: *, localhost, or origins such as https://example.org, by commas",
    ),
    Flag(
        name="cors-methods",
        value="METHODS",
        kind=words,
        default=("GET", "POST", "DELETE", "OPTIONS"),
        env=variable("CORS_METHODS"),
        help="what such pages may do",
    ),
    Flag(
        name="cors-headers",
        value="HEADERS",
        kind=words,
        default=("*",),
        env=variable("CORS_HEADERS"),
        help="headers that such pages may send; *: any",
    ),
    Flag(
        name="cors-credentials",
        off=("--no-cors-credentials",),
        default=True,
        env=variable("CORS_CREDENTIALS"),
        help="such pages may send cookies and keys that the browser keeps",
    ),
]

SERVER = [
    Flag(
        name="alias",
        also=("-a",),
        value="NAMES",
        kind=words,
        env=variable("ALIAS"),
        help="names of the model, by commas; clients see the first of the alphabet (default: -hf's, else the path)",
    ),
    Flag(
        name="tags",
        value="TAGS",
        kind=words,
        default=(),
        env=variable("TAGS"),
        help="words about the model, for /v1/models",
    ),
    Flag(name="api-prefix", value="PATH", default="", env=variable("API_PREFIX"), help="what all paths begin with"),
    Flag(
        name="path",
        value="DIR",
        kind=directory,
        env=variable("STATIC_PATH"),
        help="directory of static files, which come before the files of the built-in page",
    ),
    Flag(
        name="ui",
        also=("--webui",),
        off=("--no-ui", "--no-webui"),
        default=True,
        env=variable("UI"),
        help="serve the page",
    ),
    Flag(
        name="slots",
        off=("--no-slots",),
        default=True,
        env=variable("ENDPOINT_SLOTS"),
        help="serve /slots, which tells what runs",
    ),
    Flag(
        name="props",
        default=False,
        env=variable("ENDPOINT_PROPS"),
        help="let POST /props change the system prompt and its names",
    ),
    Flag(name="spm-infill", default=False, help="in /infill prompts the suffix comes first, as some models want it"),
    Flag(
        name="metrics",
        default=False,
        env=variable("ENDPOINT_METRICS"),
        help="serve counters and histograms at /metrics, as Prometheus text",
    ),
    Flag(
        name="slot-save-path",
        value="DIR",
        kind=directory,
        env=variable("SLOT_SAVE_PATH"),
        help="directory that slots are saved to and restored from (default: they cannot be)",
    ),
    Flag(
        name="system-prompt-file",
        also=("-spf",),
        value="FILE",
        env=variable("SYSTEM_PROMPT_FILE"),
        help="JSON file with prompt, anti_prompt, assistant_name: stands in front of all prompts",
    ),
]

CHAT = [
    Flag(
        name="chat-template",
        value="NAME|FILE",
        env=variable("CHAT_TEMPLATE"),
        help="chat template: a built-in one, a file of Jinja, or Jinja itself (default: the model's)",
    ),
    Flag(
        name="chat-template-file",
        value="FILE",
        kind=contents,
        env=variable("CHAT_TEMPLATE_FILE"),
        help="the same from a file",
    ),
    Flag(
        name="jinja",
        off=("--no-jinja",),
        default=True,
        env=variable("JINJA"),
        help="run the model's own template; --no-jinja: use the built-in one that has its marks, or none",
    ),
    Flag(
        name="prefill-assistant",
        off=("--no-prefill-assistant",),
        default=True,
        env=variable("PREFILL_ASSISTANT"),
        help="go on with a chat's last message where it is the assistant's, instead of taking it for a whole turn",
    ),
]

LOGS = [
    Flag(name="verbose", also=("-v", "--log-verbose"), default=False, help="log request bodies"),
    Flag(
        name="log-file",
        value="FILE",
        env=variable("LOG_FILE"),
        help="append one JSON object for each request: id, route, status, sizes, times, tokens; no text of prompts",
    ),
    Flag(name="log-disable", default=False, help="no line for each request on the log"),
]

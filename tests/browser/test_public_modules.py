"""The modules that other people's pages import, in a browser: from a real server, and from replies made to measure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live_server import Server, serving

# The example of the old server's documentation: a page like this must go on working as it is.
EXAMPLE = """<html>
  <body>
    <pre>
      <script type="module">
        import { llama } from '/completion.js'

        const prompt = `### Instruction:
Write dad jokes, each one paragraph.
You can use html formatting if needed.

### Response:`

        for await (const chunk of llama(prompt)) {
          document.write(chunk.data.content)
        }
      </script>
    </pre>
  </body>
</html>
"""
# Replies to fetch, as lists of byte strings that arrive one by one; `sent` has what was asked for.
SCRIPTED = """
    const sent = [];
    globalThis.fetch = async (url, options) => {
        sent.push({ path: new URL(url).pathname, headers: options.headers, body: JSON.parse(options.body ?? "null") });
        const pieces = reply.pieces.map((text) => Uint8Array.from(text, (c) => c.charCodeAt(0)));
        const body = new ReadableStream({
            pull(controller) {
                if (options.signal?.aborted) controller.error(options.signal.reason);
                else if (pieces.length) controller.enqueue(pieces.shift());
                else controller.close();
            },
        });
        return new Response(body, { status: reply.status ?? 200, headers: { "Content-Type": reply.type } });
    };
    const m = await import("/completion.js");
"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Iterator[Server]:
    """A server whose --path has nothing but the example."""
    site = tmp_path_factory.mktemp("site")
    (site / "example.html").write_text(EXAMPLE)
    (site / "empty.html").write_text("<!doctype html><body></body>")
    folder = tmp_path_factory.mktemp("live")
    with serving(folder, "-m", str(smollm2), "-c", "2048", "--path", str(site)) as server:
        server.wait_for_health(200)
        yield server


@pytest.fixture
def page(browser: Any, live: Server) -> Iterator[Any]:
    page = browser.new_page()
    page.set_default_timeout(30_000)
    page.goto(f"http://127.0.0.1:{live.port}/empty.html")
    yield page
    page.close()


def scripted(page: Any, program: str, pieces: list[bytes], status: int = 200, type: str = "text/event-stream") -> Any:
    """Runs a function's body that sees the module as m; bytes travel as characters up to U+00FF."""
    reply = {"pieces": [piece.decode("latin-1") for piece in pieces], "status": status, "type": type}
    return page.evaluate(f"async (reply) => {{ {SCRIPTED} {program} }}", reply)


def failure(page: Any, *reply: Any, **more: Any) -> Any:
    program = (
        "const failed = (e) => [e.message, e.status ?? null];"
        "return await m.llamaPromise('p').then((text) => [text], failed);"
    )
    return scripted(page, program, *reply, **more)


def cut(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def test_the_documented_example_works_as_it_stands(browser: Any, live: Server) -> None:
    page = browser.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    with page.expect_request_finished(lambda request: request.url.endswith("/completion"), timeout=60_000) as done:
        page.goto(f"http://127.0.0.1:{live.port}/example.html")
    sent = done.value.post_data_json
    assert {key: sent[key] for key in ("n_predict", "temperature", "stop", "stream")} == {
        "n_predict": 500, "temperature": 0.2, "stop": ["</s>"], "stream": True,
    }  # fmt: skip
    assert len(page.inner_text("body").strip()) > 10
    assert problems == []
    page.close()


def test_every_export_tells_the_same_text(page: Any) -> None:
    text, chunks, returned, events, done, called, settings, cached = page.evaluate(
        """async () => {
            const m = await import("/completion.js");
            const params = { n_predict: 8, seed: 7 };
            const text = await m.llamaPromise("Once upon a time", params);
            const stream = m.llama("Once upon a time", params);
            let chunks = "", next;
            while (!(next = await stream.next()).done) chunks += next.value.data.content;
            const events = [], target = m.llamaEventTarget("Once upon a time", params);
            const done = await new Promise((resolve) => {
                for (const type of ["message", "generation_settings", "timings"])
                    target.addEventListener(type, (event) => events.push([type, event.detail]));
                target.addEventListener("done", (event) => resolve(event.detail));
            });
            let called = "";
            const each = (chunk) => (called += chunk.data.content);
            await m.llamaComplete({ ...params, prompt: "Once upon a time" }, new AbortController(), each);
            const settings = await m.llamaModelInfo();
            return [text, chunks, next.value, events, done, called, settings, settings === (await m.llamaModelInfo())];
        }"""
    )
    assert text
    assert chunks == returned == called == text
    assert done == {"content": text}
    assert "".join(detail["content"] for kind, detail in events if kind == "message") == text
    assert [kind for kind, _ in events[-3:]] == ["message", "generation_settings", "timings"]
    assert events[-2][1] == settings
    assert settings["n_predict"] == 8
    assert cached


def test_model_info_before_any_completion_is_the_servers(page: Any, live: Server) -> None:
    found = page.evaluate("import('/completion.js').then((m) => m.llamaModelInfo())")
    assert found == live.ask("GET", "/props")[1]["default_generation_settings"]


def test_a_controller_stops_it(page: Any, live: Server) -> None:
    name = page.evaluate(
        """async () => {
            const { llama } = await import("/completion.js");
            const controller = new AbortController();
            try {
                const request = llama("Count:", { n_predict: -1, ignore_eos: true }, { controller });
                for await (const chunk of request) controller.abort();
            } catch (error) {
                return error.name;
            }
        }"""
    )
    assert name == "AbortError"


def test_leaving_the_loop_frees_the_slot(page: Any, live: Server) -> None:
    page.evaluate(
        """async () => {
            const { llama } = await import("/completion.js");
            for await (const chunk of llama("Count:", { n_predict: -1, ignore_eos: true })) break;
        }"""
    )
    page.wait_for_function("fetch('/slots').then((r) => r.json()).then((all) => !all.some((s) => s.is_processing))")


def test_refusals_are_thrown_with_their_sentence(page: Any) -> None:
    message, status = page.evaluate(
        """import("/completion.js").then((m) => m.llamaPromise("x", { temperature: "hot" })).catch(
            (error) => [error.message, error.status])"""
    )
    assert status == 400
    assert "temperature" in message


def test_text_may_be_cut_anywhere(page: Any) -> None:
    data = 'data: {"content":"é日😀","stop":false}\n\n: ping\r\n\r\ndata:{"content":"!","stop":true}\n\n'.encode()
    assert failure(page, cut(data)) == ["é日😀!"]


def test_a_stream_may_just_end(page: Any) -> None:
    assert failure(page, [b'data: {"content":"a","stop":false}\n\ndata: {"conte']) == ["a"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'error: {"content":"slot unavailable"}\n\n', "slot unavailable"),
        (b'error: {"content":"all is lost"}\n\n', "all is lost"),
        (b'data: {"error":{"code":500,"message":"no pages","type":"server_error"}}\n\n', "no pages"),
    ],
)
def test_errors_in_the_stream_are_thrown(page: Any, data: bytes, message: str) -> None:
    assert failure(page, [b'data: {"content":"a","stop":false}\n\n', data]) == [message, None]


def test_a_refusal_without_json_is_told_by_its_status(page: Any) -> None:
    assert failure(page, [b"<h1>Bad gateway</h1>"], status=502, type="text/html") == ["502 ", 502]


def test_an_event_target_tells_errors_instead_of_leaving_them_unhandled(page: Any) -> None:
    unhandled: list[str] = []
    page.on("pageerror", lambda error: unhandled.append(str(error)))
    program = """return await new Promise((resolve) =>
        m.llamaEventTarget("p").addEventListener("error", (event) => resolve(event.detail.message)));"""
    assert scripted(page, program, [b'{"error":{"message":"no key"}}'], 401, "application/json") == "no key"
    page.wait_for_timeout(50)
    assert unhandled == []


def test_without_stream_the_answer_is_one_chunk(page: Any) -> None:
    program = """const chunks = [];
        for await (const chunk of m.llama("p", { stream: false })) chunks.push(chunk.data.content);
        return [chunks, sent[0].body.stream];"""
    reply = [b'{"content":"whole","stop":true}']
    assert scripted(page, program, reply, type="application/json; charset=utf-8") == [["whole"], False]


def test_a_key_goes_into_the_header_only(page: Any) -> None:
    program = 'await m.llamaPromise("p", { api_key: "secret" }, { api_url: location.origin + "/v/" }); return sent;'
    [request] = scripted(page, program, [b'data: {"content":"","stop":true}\n\n'])
    assert request["path"] == "/v/completion"
    assert request["headers"]["Authorization"] == "Bearer secret"
    assert request["body"] == {
        "stream": True, "n_predict": 500, "temperature": 0.2, "stop": ["</s>"], "prompt": "p",
    }  # fmt: skip


def test_the_view_library(page: Any) -> None:
    """A small page in the manner of the old one: templates, signals, hooks, a class component."""
    if not (Path(__file__).resolve().parents[2] / "webroot" / "vendor" / "preact.js").is_file():
        pytest.skip("this checkout was installed without Node")
    shown = page.evaluate(
        """async () => {
            const { html, h, signal, effect, computed, render, useSignal, useEffect, useRef, Component } =
                await import("/index.js");
            const count = signal(1), double = computed(() => count.value * 2), seen = [];
            effect(() => seen.push(double.value));
            class Old extends Component { render() { return h("i", null, this.props.text); } }
            const Page = () => {
                const local = useSignal("a"), box = useRef(null);
                useEffect(() => { local.value = box.current.tagName; }, []);
                return html`<p ref=${box} onclick=${() => count.value++}>${double} ${local} <${Old} text="old" /></p>`;
            };
            render(html`<${Page} />`, document.body);
            document.querySelector("p").click();
            await new Promise((resolve) => setTimeout(resolve, 100));
            return [document.body.textContent, seen];
        }"""
    )
    assert shown == ["4 P old", [2, 4]]

"""The settings drawer: what is shown, what is sent, presets, templates, grammars."""

from __future__ import annotations

from typing import Any

from llamatw.web.limits import LIMITS, UNSERVED
from llamatw.web.schema import Generating
from tests.browser.acts import answered, open_drawer, say, until, until_true


def field(page: Any, name: str) -> Any:
    """A control, in its group that is open."""
    page.evaluate("document.querySelectorAll('details.group').forEach((group) => (group.open = true))")
    return page.locator(f"[id='set-{name}']")


class TestSettings:
    def test_only_changed_values_are_sent(self, page: Any, server: Any) -> None:
        open_drawer(page, "Settings")
        until_true(page, "document.querySelector('#set-temperature')?.placeholder === '0.8'")
        assert field(page, "seed").get_attribute("placeholder") == "random"
        field(page, "temperature").fill("1.2")
        field(page, "seed").fill("7")
        field(page, "page.system").fill("Be brief.")
        page.keyboard.press("Escape")
        say(page, "Go")
        answered(page)
        sent = server.requests[0]
        assert sent["temperature"] == 1.2 and sent["seed"] == 7
        assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
        assert not {"top_k", "top_p", "min_p", "repeat_penalty", "max_tokens"} & sent.keys()

    def test_reset_gives_values_back(self, page: Any, server: Any) -> None:
        open_drawer(page, "Settings")
        field(page, "top_k").fill("5")
        field(page, "min_p").fill("0.5")
        page.get_by_label("Top-k: back to the server's default").click()
        assert field(page, "top_k").input_value() == "" and field(page, "min_p").input_value() == "0.5"
        page.get_by_role("button", name="Reset all settings").click()
        assert field(page, "min_p").input_value() == ""
        page.get_by_role("button", name="Undo").click()
        assert field(page, "min_p").input_value() == "0.5"
        page.get_by_role("button", name="Reset all settings").click()
        page.reload()
        say(page, "Go")
        answered(page)
        assert server.requests[0].keys() == {
            "messages",
            "stream",
            "stream_options",
            "return_progress",
            "timings_per_token",
        }

    def test_value_out_of_range_is_not_taken(self, page: Any, server: Any) -> None:
        open_drawer(page, "Settings")
        field(page, "top_p").fill("3")
        page.keyboard.press("Tab")
        page.locator("#settings").get_by_label("Close").click()
        assert page.evaluate("JSON.parse(localStorage['llamatw.settings'] ?? '{}')") == {}

    def test_dark_and_light(self, page: Any) -> None:
        paper = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(paper)
        page.get_by_label("Switch between light and dark").click()
        dark = page.evaluate(paper)
        assert dark != light
        page.reload()
        assert page.evaluate(paper) == dark
        page.get_by_label("Switch between light and dark").click()
        assert page.evaluate(paper) == light and page.evaluate("'llamatw.theme' in localStorage") is False

    def test_presets(self, page: Any, server: Any) -> None:
        open_drawer(page, "Settings")
        field(page, "temperature").fill("0.3")
        field(page, "page.system").fill("Be sober.")
        page.get_by_label("Name of the preset").fill("sober")
        page.keyboard.press("Enter")
        field(page, "temperature").fill("1.9")
        page.keyboard.press("Tab")
        page.get_by_label("Preset", exact=True).select_option("")
        page.get_by_label("Preset", exact=True).select_option("sober")
        assert field(page, "temperature").input_value() == "0.3"
        page.get_by_role("button", name="Undo").click()
        assert field(page, "temperature").input_value() == "1.9"
        page.reload()
        open_drawer(page, "Settings")
        page.get_by_label("Preset", exact=True).select_option("sober")
        assert field(page, "page.system").input_value() == "Be sober."
        page.get_by_role("button", name="delete", exact=True).click()
        assert page.get_by_label("Preset", exact=True).locator("option").count() == 1
        page.get_by_role("button", name="Undo").click()
        assert page.get_by_label("Preset", exact=True).locator("option").count() == 2

    def test_templates_of_the_page(self, page: Any, server: Any) -> None:
        """The reference's {{names}}; what people write is never taken for one."""
        open_drawer(page, "Settings")
        page.get_by_label("Prompt template", exact=True).select_option("own")
        field(page, "page.prompt").fill("{{char}} helps {{user}}.")
        field(page, "page.char").fill("Ada")
        field(page, "stop").fill("END\\n\\\\")
        page.keyboard.press("Tab")
        page.keyboard.press("Escape")
        say(page, "I am {{char}}")
        answered(page)
        say(page, "And?")
        answered(page)
        sent = server.requests[-1]
        assert sent["prompt"] == ("Ada helps User.\n\nUser: I am {{char}}\nAda: Hello there.\nUser: And?\nAda:")
        assert sent["stop"] == ["END\n\\", "</s>", "Ada:", "User:"]

    def test_kinds_of_values(self, page: Any, server: Any) -> None:
        open_drawer(page, "Settings")
        until_true(page, "document.getElementById('set-samplers')?.placeholder === 'top_k, min_p'")
        assert field(page, "cache_prompt").is_checked()
        field(page, "cache_prompt").uncheck()
        field(page, "mirostat").select_option("version 2")
        field(page, "samplers").fill("min_p, temperature")
        field(page, "logit_bias").fill(" yes: 2.5\n17: false")
        page.keyboard.press("Tab")
        page.keyboard.press("Escape")
        say(page, "Go")
        answered(page)
        sent = server.requests[0]
        assert (sent["cache_prompt"], sent["mirostat"], sent["samplers"]) == (False, 2, ["min_p", "temperature"])
        assert sent["logit_bias"] == [[" yes", 2.5], [17, False]]

    def test_schema_to_grammar(self, page: Any, server: Any) -> None:
        """The page's side of it: the converter by itself has tests of its own."""
        converter = """export class SchemaConverter {
            constructor(order) { this.order = order; }
            visit(schema, name) {
                if (schema.bad) throw new Error("no such thing");
                this.seen = [this.order, schema, name];
            }
            formatGrammar() { return JSON.stringify(this.seen); }
        }"""
        page.route(
            "**/json-schema-to-grammar.mjs",
            lambda route: route.fulfill(body=converter, content_type="text/javascript"),
        )
        open_drawer(page, "Settings")
        field(page, "grammar").fill('{"type": "object"}')
        page.get_by_label("Order of properties").fill("order: b, a")
        page.get_by_role("button", name="Convert JSON schema").click()
        until(lambda: field(page, "grammar").input_value() == '[{"b":0,"a":1},{"type":"object"},""]', page)
        field(page, "grammar").fill('{"bad": true}')
        page.get_by_role("button", name="Convert JSON schema").click()
        page.get_by_text("Convert failed: no such thing").wait_for()

    def test_every_setting_of_the_server(self, modules: Any) -> None:
        """What a request may hold is either in the drawer, or said another way by the page."""
        shown = set(
            modules.evaluate(
                "import('./fields.js').then(({ GROUPS }) => GROUPS.flatMap((g) => g.fields.map((f) => f.name)))"
            )
        )
        spelled_otherwise = {"n_predict", "max_completion_tokens", "slot_id", "logprobs", "top_logprobs", "n_cmpl"}
        ours = {"n", "best_of", "stream", "stream_options", "sse_ping_interval", "return_tokens", "return_progress"}
        ours |= {"timings_per_token", "verbose", "response_fields"}
        ours |= {"json_schema", "response_format"}  # the page converts schemas itself
        of_tools = {"grammar_lazy", "grammar_triggers", "preserved_tokens"}
        fields = {name.replace("speculative_", "speculative.") for name in Generating.__struct_fields__}
        assert shown == (fields | set(LIMITS)) - spelled_otherwise - ours - of_tools - set(UNSERVED) - {
            "lora", "n_cache_reuse", "reasoning_budget_tokens", "thinking_budget_tokens",
        }  # fmt: skip

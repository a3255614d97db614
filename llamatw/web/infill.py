"""POST /infill: native completions of what stands between a beginning and an end."""

from __future__ import annotations

from klein import Klein

from llamatw.errors import BadRequest
from llamatw.web import fim, prompts
from llamatw.web.api import NATIVE_REPEAT_PENALTY, Api, Request
from llamatw.web.native import complete
from llamatw.web.schema import CompletionRequest

MAX_EXTRAS = 4096


class InfillRequest(CompletionRequest, kw_only=True):
    """`prompt` stands behind the prefix: what has been written already of the middle."""

    input_prefix: str | list[str | int] | None = None
    input_suffix: str | list[str | int] | None = None
    input_extra: list[fim.Extra] | None = None


def add_routes(app: Klein, api: Api) -> None:
    @app.route("/infill", methods=["POST"])
    async def infill(request: Request) -> bytes:
        body = api.body(request, InfillRequest)
        order = await api.order(request, body, NATIVE_REPEAT_PENALTY)
        hole = _hole(body, api.engine.info.n_vocab)
        if body.system_prompt is not None:
            await api.check_system(body.system_prompt)
        ids = await fim.prompt_ids(api, hole, body.system_prompt)
        return await complete(api, request, order, [ids], [body.prompt], is_list=order.n > 1, system=body.system_prompt)


def _hole(body: InfillRequest, n_vocab: int) -> fim.Hole:
    extra = body.input_extra or []
    if len(extra) > MAX_EXTRAS:
        raise BadRequest(f"input_extra holds {len(extra)} files, the limit is {MAX_EXTRAS}", "input_extra")
    before = prompts.parse_one(body.input_prefix or "", "input_prefix")
    after = prompts.parse_one(body.input_suffix or "", "input_suffix")
    written = prompts.parse_one(body.prompt, "prompt")
    for field, prompt in (("input_prefix", before), ("input_suffix", after), ("prompt", written)):
        prompts.check_ids(prompt, field, n_vocab)
    return fim.Hole(before=before + written, after=after, extra=extra)

"""/props: what the server is set to, and with --props what can be changed of it."""

from __future__ import annotations

import secrets

import msgspec
from klein import Klein

from llamatw.errors import NotSupported, TemplateRejected
from llamatw.settings import SystemPrompt
from llamatw.web import reply
from llamatw.web.api import NATIVE_REPEAT_PENALTY, Api, Request, answer
from llamatw.web.models import file_type

_MEDIA_MARKER = (
    f"<__media_{secrets.token_hex(8)}__>"  # where a prompt would hold an image; no text can hold it by chance
)


class PropsRequest(msgspec.Struct, forbid_unknown_fields=True):
    """POST /props; what is left out stays."""

    system_prompt: SystemPrompt | str | None = None
    user_name: str | None = None
    assistant_name: str | None = None


def add_routes(app: Klein, api: Api) -> None:
    @app.route("/props", methods=["GET"])
    async def props(request: Request) -> bytes:
        return answer(request, await _props(api))

    @app.route("/props", methods=["POST"])
    async def change(request: Request) -> bytes:
        if not api.settings.props:
            raise NotSupported("POST /props is served only when the server is started with --props")
        system = _changed(api.system, api.body(request, PropsRequest))
        await api.check_system(system)
        api.system = system
        return answer(request, {"success": True})


def _changed(system: SystemPrompt, body: PropsRequest) -> SystemPrompt:
    if isinstance(body.system_prompt, SystemPrompt):
        system = body.system_prompt
    elif body.system_prompt is not None:
        system = msgspec.structs.replace(system, prompt=body.system_prompt)
    if body.user_name is not None:
        system = msgspec.structs.replace(system, anti_prompt=body.user_name)
    if body.assistant_name is not None:
        system = msgspec.structs.replace(system, assistant_name=body.assistant_name)
    return system


async def _props(api: Api) -> reply.Json:
    info = api.engine.info
    tool_use = info.metadata.get("tokenizer.chat_template.tool_use")
    return {
        "assistant_name": api.system.assistant_name,
        "user_name": api.system.anti_prompt,
        "system_prompt": api.system.prompt,
        "default_generation_settings": await _default_settings(api),
        "total_slots": api.n_slots,
        "model_alias": api.model,
        "model_ftype": file_type(info),
        "model_path": info.path,
        "modalities": {"vision": False, "audio": False, "video": False},
        "media_marker": _MEDIA_MARKER,
        "endpoint_slots": api.settings.slots,
        "endpoint_props": api.settings.props,
        "endpoint_metrics": api.settings.metrics,
        "ui": api.settings.ui,
        "ui_settings": {},
        **_template(api),
        **({"chat_template_tool_use": tool_use} if isinstance(tool_use, str) else {}),
        "bos_token": info.bos_token,
        "eos_token": info.eos_token,
        "build_info": reply.FINGERPRINT,
        "is_sleeping": False,
        "cors_proxy_enabled": False,
    }


async def _default_settings(api: Api) -> reply.Json:
    """What a request that says nothing gets."""
    params = await api.default_params(NATIVE_REPEAT_PENALTY)
    seed = api.settings.defaults.get("seed")
    return reply.default_settings(params, model=api.model, n_ctx=api.engine.info.n_ctx, seed=seed)


def _template(api: Api) -> reply.Json:
    """The chat template that is used, and what it can do; none: nothing."""
    try:
        return {"chat_template": api.template.source, "chat_template_caps": api.template.abilities}
    except TemplateRejected as error:
        return {"chat_template": "", "chat_template_caps": {}, "chat_template_error": error.message}

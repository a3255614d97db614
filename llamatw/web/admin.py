"""What the server tells about itself: health, settings, models; and the routes it knows but cannot serve yet."""

from __future__ import annotations

from klein import Klein

from llamatw.errors import NotSupported, Unavailable
from llamatw.web import reply
from llamatw.web.api import NATIVE_REPEAT_PENALTY, Api, Request, answer, answer_error

UNSERVED = [
    ("POST", "/props"),
    ("POST", "/infill"),
    ("POST", "/v1/completions"),
    ("POST", "/embedding"),
    ("POST", "/embeddings"),
    ("POST", "/v1/embeddings"),
    ("POST", "/rerank"),
    ("POST", "/reranking"),
    ("POST", "/v1/rerank"),
    ("POST", "/v1/reranking"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/messages"),
    ("POST", "/v1/messages/count_tokens"),
    ("GET", "/lora-adapters"),
    ("POST", "/lora-adapters"),
]


def add_routes(app: Klein, api: Api) -> None:
    @app.route("/health", methods=["GET"])
    @app.route("/v1/health", methods=["GET"])
    def health(request: Request) -> bytes:
        trouble = _trouble(api)
        if trouble is None:
            return answer(request, {"status": "ok"})
        if api.engine.state == "loading":
            return answer_error(request, trouble, status="loading model", progress=api.engine.progress)
        return answer_error(request, trouble, status="error")

    @app.route("/props", methods=["GET"])
    def props(request: Request) -> bytes:
        return answer(request, _props(api))

    @app.route("/v1/models", methods=["GET"])
    @app.route("/models", methods=["GET"])
    def models(request: Request) -> bytes:
        return answer(request, _models(api))

    def not_yet(request: Request, **_: object) -> bytes:
        path = request.path.decode("utf-8", "replace")
        return answer_error(request, NotSupported(f"{path} is not supported in this build"))

    for method, path in UNSERVED:
        app.route(path, methods=[method], endpoint=f"{method} {path}")(not_yet)


def _trouble(api: Api) -> Unavailable | None:
    """Why the engine cannot serve; None while it can.  Only loading is worth another try: what is stuck may stay so."""
    if api.engine.state == "loading":
        return Unavailable("Loading model", retry_after=1)
    if api.engine.state == "failed":
        return Unavailable(api.engine.failure or "the engine is not running")
    if api.engine.state == "stopped":
        return Unavailable("the server is stopping")
    stuck = api.engine.stuck()
    return Unavailable(stuck) if stuck else None


def _props(api: Api) -> reply.Json:
    info = api.engine.info
    return {
        "assistant_name": api.system.assistant_name,
        "user_name": api.system.anti_prompt,
        "system_prompt": api.system.prompt,
        "default_generation_settings": reply.default_settings(
            model=api.model, n_ctx=info.n_ctx, n_predict=api.settings.n_predict, repeat_penalty=NATIVE_REPEAT_PENALTY
        ),
        "total_slots": api.n_slots,
        "model_alias": api.model,
        "model_path": info.path,
        "modalities": {"vision": False, "audio": False, "video": False},
        "endpoint_slots": True,
        "endpoint_props": False,
        "endpoint_metrics": api.settings.metrics,
        "chat_template": info.chat_template or "",
        "bos_token": info.bos_token,
        "eos_token": info.eos_token,
        "build_info": reply.FINGERPRINT,
        "is_sleeping": False,
    }


def _models(api: Api) -> reply.Json:
    info = api.engine.info
    meta = {
        "n_vocab": info.n_vocab,
        "n_ctx": info.n_ctx,
        "n_ctx_train": info.n_ctx_train,
        "n_embd": info.n_embd,
        "n_params": info.n_params,
        "size": info.size_bytes,
    }
    model = {
        "id": api.model,
        "object": "model",
        "created": int(api.reactor.seconds()),
        "owned_by": "llamacpp",
        "aliases": [api.settings.alias] if api.settings.alias else [],
        "meta": meta,
    }
    return {"object": "list", "data": [model]}

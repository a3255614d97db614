"""Whether the server is well; and the routes it knows but cannot serve yet."""

from __future__ import annotations

from klein import Klein

from llamatw.errors import NotSupported, Unavailable
from llamatw.web.api import Api, Request, answer, answer_error

UNSERVED = [
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

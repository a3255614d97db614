"""/v1/models: the one model that is served, as OpenAI's clients and those of ollama look for it."""

from __future__ import annotations

from klein import Klein

from llamatw.engine.service import ModelInfo
from llamatw.errors import NotFound
from llamatw.web import reply
from llamatw.web.api import Api, Request, answer

_VOCABULARIES = {"llama": 1, "gpt2": 2, "bert": 3, "t5": 4, "rwkv": 5}  # tokenizer.ggml.model -> number
_FILE_TYPES = {  # general.file_type -> the common name of the mixture
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K - Medium",
    11: "Q3_K - Small",
    12: "Q3_K - Medium",
    13: "Q3_K - Large",
    14: "Q4_K - Small",
    15: "Q4_K - Medium",
    16: "Q5_K - Small",
    17: "Q5_K - Medium",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K - Small",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4 MoE",
}


def add_routes(app: Klein, api: Api) -> None:
    @app.route("/v1/models", methods=["GET"])
    @app.route("/models", methods=["GET"])
    def models(request: Request) -> bytes:
        return answer(request, {"object": "list", "data": [_model(api)], "models": [_ollama_model(api)]})

    @app.route("/v1/models/<path:name>", methods=["GET"])
    @app.route("/v1/models//<path:name>", methods=["GET"])  # an id may be a path; some clients drop its first slash
    @app.route("/models/<path:name>", methods=["GET"])
    @app.route("/models//<path:name>", methods=["GET"])
    def model(request: Request, name: str) -> bytes:
        if name not in (api.model.removeprefix("/"), *api.settings.aliases):
            raise NotFound(f"no model {name[:200]!r} here")
        return answer(request, _model(api))


def file_type(model: ModelInfo) -> str:
    """How the weights are packed, as people say it."""
    number = model.metadata.get("general.file_type")
    return _FILE_TYPES.get(number, "unknown") if isinstance(number, int) else "unknown"


def _model(api: Api) -> reply.Json:
    info = api.engine.info
    meta = {
        "vocab_type": _VOCABULARIES.get(str(info.metadata.get("tokenizer.ggml.model")), 0),
        "n_vocab": info.n_vocab,
        "n_ctx": info.n_ctx,
        "n_ctx_train": info.n_ctx_train,
        "n_embd": info.n_embd,
        "n_params": info.n_params,
        "size": info.size_bytes,
        "ftype": file_type(info),
    }
    return {
        "id": api.model,
        "object": "model",
        "created": int(api.reactor.seconds()),
        "owned_by": "llamacpp",
        "aliases": list(api.settings.aliases),
        "tags": list(api.settings.tags),
        "meta": meta,
    }


def _ollama_model(api: Api) -> reply.Json:
    info = api.engine.info
    return {
        "name": api.model,
        "model": api.model,
        "modified_at": "",
        "size": info.size_bytes,
        "digest": "",
        "type": "model",
        "description": info.name,
        "tags": [],
        "capabilities": ["completion"],
        "parameters": "",
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": info.arch,
            "families": [info.arch],
            "parameter_size": _rounded(info.n_params),
            "quantization_level": file_type(info),
        },
    }


def _rounded(n: int) -> str:
    """134515008 -> "134.5M"."""
    for unit, size in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if n >= size:
            return f"{n / size:.1f}{unit}"
    return str(n)

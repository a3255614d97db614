"""One tree of errors.  Each knows the HTTP status, the `type` and the `param` that a client is shown.

Sources: the compatibility policy ("Errors, everywhere"); types as today's llama-server names them.
"""

from __future__ import annotations


class LlamatwError(Exception):
    """Anything that we can say in one sentence to whoever asked."""

    status = 500
    type = "server_error"

    def __init__(self, message: str, param: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after  # seconds, for 429 and 503


class BadRequest(LlamatwError):
    status, type = 400, "invalid_request_error"


class ContextExceeded(BadRequest):
    """The prompt does not fit: carries both counts."""

    type = "exceed_context_size_error"

    def __init__(self, n_prompt_tokens: int, n_ctx: int) -> None:
        room = f"the context of {n_ctx} has room for {n_ctx - 1} and an answer"
        super().__init__(f"the request has {n_prompt_tokens} prompt tokens, {room}", "prompt")
        self.n_prompt_tokens = n_prompt_tokens
        self.n_ctx = n_ctx


class TemplateRejected(BadRequest):
    """The chat template is missing, broken, too costly, or refused these messages."""

    type = "chat_template_rejected"


class Unauthorized(LlamatwError):
    status, type = 401, "authentication_error"


class Forbidden(LlamatwError):
    """Not from this page, or not under this name."""

    status, type = 403, "permission_error"


class NotFound(LlamatwError):
    status, type = 404, "not_found_error"


class MethodNotAllowed(LlamatwError):
    status, type = 405, "method_not_allowed_error"


class PayloadTooLarge(LlamatwError):
    status, type = 413, "invalid_request_error"


class UnsupportedMedia(LlamatwError):
    status, type = 415, "invalid_request_error"


class TooManyRequests(LlamatwError):
    status, type = 429, "rate_limit_error"


class NotSupported(LlamatwError):
    """A valid wish that this server cannot serve yet, or was not started for."""

    status, type = 501, "not_supported_error"


class InsufficientStorage(LlamatwError):
    """No room for a file that was asked for."""

    status = 507


class Unavailable(LlamatwError):
    """Loading, shutting down, or the engine is gone."""

    status, type = 503, "unavailable_error"


class EngineFailure(LlamatwError):
    """The engine said no; .code is the LT_E_* number."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class ModelError(LlamatwError):
    """The model file cannot be found, read or served."""


class UsageMistake(LlamatwError):
    """A flag is wrong: one line for the terminal."""

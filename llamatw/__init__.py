"""llamatw: a Twisted service that serves a GGUF language model over HTTP through its own engine."""

__version__ = "0.1.0"

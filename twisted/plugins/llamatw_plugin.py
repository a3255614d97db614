"""Makes `twistd llama` known; twisted finds this file by its place."""

from twisted.application.service import ServiceMaker

llama = ServiceMaker("llamatw", "llamatw.service", "Serve a GGUF language model over HTTP.", "llama")

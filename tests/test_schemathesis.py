"""Schemathesis at a real server, by the description of its API: requests that fit it and requests that do not, each
answered as the description says.  Statuses of 500 and above are failures, but for 501.

LLAMATW_CASES is the number of requests to a route (`make attack`: 150, and all that Schemathesis can enumerate).
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from llamatw.web import admin
from tests.live_server import serving

N_CASES = int(os.environ.get("LLAMATW_CASES", "6"))
ALIASES = ("/completions", "/chat/completions", "/chat/completions/input_tokens")
SETTINGS = '[checks]\nnot_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 501]\n'
RUN = "import sys; from schemathesis.cli import schemathesis; sys.argv[0] = 'schemathesis'; schemathesis()"
# Unknown methods are 404 here, as in the server that this one follows.  What fits may be refused nevertheless: whether
# an id or a grammar is one depends on the model.
LEFT_OUT = "unsupported_method,positive_data_acceptance"


def test_answers_are_as_described(tmp_path, engine_library, smollm2):
    pytest.importorskip("schemathesis")
    (tmp_path / "saves").mkdir()
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    flags = ["-c", "512", "-n", "2", "--props", "--metrics", "--slot-save-path", "saves"]
    with serving(tmp_path, "-m", str(smollm2), *flags) as server:
        server.wait_for_health(200)
        words = ["run", f"http://127.0.0.1:{server.port}/openapi.json", "-n", str(N_CASES), "--continue-on-failure"]
        words += ["--exclude-checks", LEFT_OUT, "--seed", "1", "--request-timeout", "60", "--no-color"]
        words += ["--phases", "fuzzing" if N_CASES < 100 else "coverage,fuzzing"]
        if N_CASES < 100:
            for path in (*ALIASES, *{path for _, path in admin.UNSERVED}):
                words += ["--exclude-path", path]
        done = subprocess.run([sys.executable, "-c", RUN, *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert server.ask("GET", "/health") == (200, {"status": "ok"})
        assert "Traceback" not in server.log.read_text()

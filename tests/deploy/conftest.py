"""A stand-in for TF Serving's status page."""

import http.server
import json
import threading

import pytest


@pytest.fixture
def server():
    """Answers as TF Serving: loading at first, then available."""

    class Handler(http.server.BaseHTTPRequestHandler):
        states = ["LOADING", "AVAILABLE"]
        asked = []

        def do_GET(self):
            self.asked.append(self.path)
            states = self.states
            state = states.pop(0) if len(states) > 1 else states[0]
            answer = {
                "model_version_status": [{"version": "1", "state": state}]
            }
            body = json.dumps(answer, indent=1).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running, Handler
        running.shutdown()
        thread.join()

"""A package index on this machine, as mip asks one: it holds umqtt.simple."""

import hashlib
import http.server
import json
import threading

from tools import umqtt


class Index(http.server.ThreadingHTTPServer):
    """The server, in a thread of its own; `url` is for mip's --index."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.module = (umqtt.folder() / "umqtt" / "simple.py").read_bytes()
        self.digest = hashlib.sha256(self.module).hexdigest()[:8]

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Answers(http.server.BaseHTTPRequestHandler):
    """The paths of an index: `package/MPY/NAME/VERSION.json` and `file/HE/HASH`."""

    server: Index

    def do_GET(self):
        if self.path == f"/file/{self.server.digest[:2]}/{self.server.digest}":
            body = self.server.module
        elif self.path.startswith("/package/6/umqtt.simple/"):
            files = [["umqtt/simple.py", self.server.digest]]
            body = json.dumps({"v": 1, "hashes": files, "version": "1.8.0"}).encode()
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

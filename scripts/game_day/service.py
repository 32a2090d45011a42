"""The service behind the gateway: `/fine` answers, `/report` sends a report, in the middle of which it gets stuck while the file of the
second argument exists. The first argument is its port."""

import http.server
import os
import sys
import time

port, stuck = int(sys.argv[1]), sys.argv[2]
REPORT = 100_000


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        is_report = self.path.endswith("/report")
        size = REPORT if is_report else 5
        self.send_response(200)
        self.send_header("content-length", str(size))
        self.end_headers()
        self.wfile.write(b"x" * (size // 2))
        if is_report and os.path.exists(stuck):
            time.sleep(30)
        self.wfile.write(b"x" * (size - size // 2))

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Service)
server.daemon_threads = True
server.serve_forever()

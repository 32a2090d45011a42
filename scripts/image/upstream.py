"""A service for the gateway to protect. `/api/v1/projects/slow` says on standard output that it was asked, and responds after
the file named by the first argument has appeared. Prints its port first."""

import http.server
import os
import sys
import time


class Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.endswith("/slow"):
            print("asked", flush=True)
            while not os.path.exists(sys.argv[1]):
                time.sleep(0.01)
        body = f"for {self.headers.get('X-Portcullis-User')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
print(server.server_port, flush=True)
server.serve_forever()

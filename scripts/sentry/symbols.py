"""Panics a stripped gateway, receives its report as Sentry would, and names the frames by the debug file.

Arguments: the program, its debug file, and the library that breaks its clock."""

import http.client
import http.server
import json
import os
import re
import subprocess
import sys
import tempfile

program, debug_file, library = sys.argv[1:]
events = []


class Sentry(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        envelope = self.rfile.read(int(self.headers["content-length"]))
        events.append(json.loads(envelope.splitlines()[2]))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def report_of_a_panic(folder):
    server = http.server.HTTPServer(("127.0.0.1", 0), Sentry)
    broken = os.path.join(folder, "broken")
    env = {
        **os.environ, "PORT": "0", "LD_PRELOAD": library, "BREAK_CLOCK": broken,
        "SENTRY_DSN": f"http://key@127.0.0.1:{server.server_port}/1",
    }
    gateway = subprocess.Popen([program, "serve"], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        lines = iter(gateway.stdout.readline, "")
        address = next(line for line in lines if line.startswith("listening on ")).split("//")[1].strip()
        next(line for line in lines if line.startswith("ready"))
        open(broken, "w").close()
        connection = http.client.HTTPConnection(address)
        connection.request("GET", "/api/v1/health")
        connection.getresponse().read()
        while not events:
            server.handle_request()
    finally:
        gateway.kill()
        gateway.wait()
    return events[0]


def named(address):
    """The functions and places of an address, the innermost first."""
    command = ["addr2line", "-f", "-C", "-i", "-e", debug_file, hex(address)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return list(zip(lines[::2], lines[1::2]))


with tempfile.TemporaryDirectory() as folder:
    event = report_of_a_panic(folder)
exception = event["exception"]["values"][0]
assert exception["type"] == "Panic", exception["type"]
[image] = event["debug_meta"]["images"]
code = image["code_id"]
assert debug_file.endswith(f"/.build-id/{code[:2]}/{code[2:]}.debug"), f"{debug_file} is not named by the build id {code}"
frames = exception["stacktrace"]["frames"]
start, size = int(image["image_addr"], 16), image["image_size"]
found = []
for frame in reversed(frames):
    # The call stands before the address to which it returns.
    address = int(frame["instruction_addr"], 16) - start - 1
    if 0 <= address < size:
        assert "lineno" not in frame, f"the program is not stripped: {frame}"
        found += [(name, place) for name, place in named(address) if re.search(r"crates/portcullis[a-z-]*/src/.+\.rs:\d+", place)]
assert found, f"no frame is named: {frames}"
print(f"a stripped binary panicked ({exception['value']}); its debug file names the frames, first:")
for name, place in found[:3]:
    print(f"  {name} at {place[place.index('crates/'):]}")

"""The application of the matrix on Flask, with the middleware of its documentation that lets a header override the method.

The development server runs it with `python flask_app.py PORT`; gunicorn and waitress import `app`.
"""

import hashlib
import os
import sys
import time

from flask import Flask, Response, jsonify, request, send_file
from flask_sock import Sock
from simple_websocket import ConnectionClosed

BLOCK = bytes(range(256)) * 256
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
OVERRIDES = ["HTTP_X_HTTP_METHOD_OVERRIDE", "HTTP_X_HTTP_METHOD", "HTTP_X_METHOD_OVERRIDE"]


class MethodOverride:
    """Takes the method from a header, for clients that can send GET and POST only."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        for name in OVERRIDES:
            if environ.get(name):
                environ["REQUEST_METHOD"] = environ[name].upper()
        return self.app(environ, start_response)


app = Flask(__name__)
app.wsgi_app = MethodOverride(app.wsgi_app)
sock = Sock(app)


@app.route("/hello", methods=METHODS)
def hello():
    return Response("hello\n", mimetype="text/plain")


@app.route("/inspect", methods=METHODS, provide_automatic_options=False)
def inspect():
    pause = int(request.args.get("pause", 0)) / 1000
    digest, size = hashlib.sha256(), 0
    while piece := request.stream.read(65536):
        digest.update(piece)
        size += len(piece)
        time.sleep(pause)
    headers = [[name, value] for name, value in request.environ.items() if name.startswith("HTTP_")]
    return jsonify(method=request.method, headers=headers, bytes=size, sha256=digest.hexdigest())


@app.route("/hold", methods=METHODS)
def hold():
    request.get_data()
    time.sleep(int(request.args["ms"]) / 1000)
    return Response("held\n", mimetype="text/plain")


@app.route("/events")
def events():
    gap = int(request.args["gap"]) / 1000

    def stream():
        number = 0
        while True:
            yield f"data: {number}\n\n"
            number += 1
            time.sleep(gap)

    return Response(stream(), mimetype="text/event-stream", headers={"Cache-Control": "no-store"})


@app.route("/file")
def file():
    return send_file(os.path.join(os.environ["MATRIX_FILES"], "file.bin"), conditional=True)


@app.route("/status/<int:code>")
def status(code):
    return Response(status=code)


@app.route("/download")
def download():
    size = int(request.args["bytes"])
    headers = {"Content-Length": str(size)} if "length" in request.args else {}
    return Response((BLOCK[: size - start] for start in range(0, size, len(BLOCK))), headers=headers)


@sock.route("/ws")
def echo(socket):
    try:
        while True:
            message = socket.receive()
            if message == "close":
                socket.close(4001, "as asked")
                return
            socket.send(message)
    except ConnectionClosed:
        pass


if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]), threaded=True)

"""The application of the matrix on Starlette, which uvicorn serves."""

import asyncio
import hashlib
import os

from starlette.applications import Starlette
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute

BLOCK = bytes(range(256)) * 256
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


async def hello(request):
    return PlainTextResponse("hello\n")


async def inspect(request):
    pause = int(request.query_params.get("pause", 0)) / 1000
    digest, size, rested = hashlib.sha256(), 0, 0
    async for piece in request.stream():
        digest.update(piece)
        size += len(piece)
        while pause and size - rested >= 65536:
            rested += 65536
            await asyncio.sleep(pause)
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers.raw]
    return JSONResponse({"method": request.method, "headers": headers, "bytes": size, "sha256": digest.hexdigest()})


async def hold(request):
    await request.body()
    await asyncio.sleep(int(request.query_params["ms"]) / 1000)
    return PlainTextResponse("held\n")


async def events(request):
    async def stream():
        number = 0
        while True:
            yield f"data: {number}\n\n"
            number += 1
            await asyncio.sleep(int(request.query_params["gap"]) / 1000)

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def file(request):
    return FileResponse(os.path.join(os.environ["MATRIX_FILES"], "file.bin"))


async def status(request):
    return Response(status_code=int(request.path_params["code"]))


async def download(request):
    size = int(request.query_params["bytes"])

    async def stream():
        for start in range(0, size, len(BLOCK)):
            yield BLOCK[: size - start]

    headers = {"Content-Length": str(size)} if "length" in request.query_params else {}
    return StreamingResponse(stream(), headers=headers)


async def echo(socket):
    await socket.accept()
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("text") == "close":
            await socket.close(4001, "as asked")
            return
        if message.get("text") is not None:
            await socket.send_text(message["text"])
        else:
            await socket.send_bytes(message["bytes"])


# A class with these names would limit the methods; a function with the list of all does not.
app = Starlette(
    routes=[
        Route("/hello", hello, methods=METHODS),
        Route("/inspect", inspect, methods=METHODS),
        Route("/hold", hold, methods=METHODS),
        Route("/events", events),
        Route("/file", file),
        Route("/status/{code}", status),
        Route("/download", download),
        WebSocketRoute("/ws", echo),
    ]
)

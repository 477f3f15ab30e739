"""The ceiling that ingest is measured against: FastAPI, msgspec and fdatasync, and nothing else.

It decodes a batch, appends the body to a file and syncs: no admission, no typed columns, no identity, no table. The
file to append to is TALLYSTICK_BARE_FILE. `GET /nothing` is an empty route, the ceiling for quota checks.
"""

import os

import msgspec
import pyarrow as pa
from fastapi import FastAPI, Request
from starlette.responses import Response


class Event(msgspec.Struct):
    id: str
    source: str
    type: str
    subject: str
    time: str
    data: msgspec.Raw


app = FastAPI()
_file = os.open(os.environ["TALLYSTICK_BARE_FILE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
_decoder = msgspec.json.Decoder(list[Event])


@app.post("/v1/events")
async def events(request: Request) -> Response:
    body = await request.body()
    if request.headers["content-type"].startswith("application/vnd.apache.arrow.stream"):
        count = pa.ipc.open_stream(pa.py_buffer(body)).read_all().num_rows
    else:
        count = len(_decoder.decode(body))
    os.write(_file, body)
    os.fdatasync(_file)
    return Response(b'{"accepted":%d}' % count, media_type="application/json")


@app.get("/nothing")
async def nothing() -> dict[str, bool]:
    return {"allowed": True}

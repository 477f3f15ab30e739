"""The files that pages need, from memory: named with their digest, so that browsers keep them, and compressed once."""

import gzip
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

DIRECTORY = Path(__file__).parent / "static"
_MEDIA = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class StaticFile:
    """One file, as it is and compressed."""

    media: str
    content: bytes
    compressed: bytes
    digest: str


@cache
def static_files() -> dict[str, StaticFile]:
    """All of them, by their paths in the directory."""
    paths = sorted(path for path in DIRECTORY.rglob("*") if path.suffix in _MEDIA)
    return {str(path.relative_to(DIRECTORY)): _read(path) for path in paths}


def static_url(name: str) -> str:
    """Where a file is: another content, another address."""
    return f"/static/{name}?v={static_files()[name].digest}"


@router.get("/static/{name:path}")
def read_static(request: Request, name: str) -> Response:
    """One file; for ever where the address has its digest."""
    found = static_files().get(name)
    if found is None:
        raise HTTPException(404, f"there is no file {name!r} here")
    is_named = request.query_params.get("v") == found.digest
    headers = {
        "ETag": f'"{found.digest}"',
        "Cache-Control": "public, max-age=31536000, immutable" if is_named else "no-cache",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.compressed, headers={**headers, "Content-Encoding": "gzip"}, media_type=found.media)
    return Response(found.content, headers=headers, media_type=found.media)


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    digest = sha256(content).hexdigest()[:12]
    return StaticFile(_MEDIA[path.suffix], content, gzip.compress(content, 9, mtime=0), digest)

"""What a form of a page says: URL-encoded, as browsers send forms without files."""

from urllib.parse import parse_qsl

from fastapi import Request

from store.errors import Refused

FIELDS_MAX = 20_000


class Form:
    """The fields of one form; the value of one that is absent is the empty text."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def get(self, name: str) -> str:
        return next((value for key, value in self._pairs if key == name), "").strip()

    def all(self, name: str) -> list[str]:
        return [value for key, value in self._pairs if key == name and value.strip()]

    def numbers(self, name: str) -> list[int]:
        """Raises Refused."""
        values = self.all(name)
        wrong = [value for value in values if not (value.isascii() and value.isdecimal() and len(value) < 19)]
        if wrong:
            raise Refused([f"{name} is {wrong[0][:80]!r}, which is no number"])
        return [int(value) for value in values]


async def form_of(request: Request) -> Form:
    """Raises Refused."""
    body = await request.body()
    try:
        return Form(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX))
    except ValueError as error:
        raise Refused([f"the form cannot be read: {error}"]) from error

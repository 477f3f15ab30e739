"""Path parameters that may hold anything, for keys are the caller's: slashes and line feeds included.

Starlette's own `path` stops at a line feed, and drops one at the end: another key, or an undocumented 404.
"""

from starlette.convertors import PathConvertor, register_url_convertor


class _AnyText(PathConvertor):
    regex = r"[\s\S]*"


register_url_convertor("text", _AnyText())


def anything(name: str) -> str:
    """The place of the parameter `name` in a path; it takes as much as it can."""
    return f"{{{name}:text}}"

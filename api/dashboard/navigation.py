"""The pages by name, in the order in which they are offered. Another one is a line here and a router in routes.py."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """`letter` behind `g` goes there from the keyboard."""

    path: str
    name: str
    letter: str


PAGES = (
    Page("/", "Overview", "o"),
    Page("/meters", "Meters", "m"),
    Page("/customers", "Customers", "c"),
    Page("/runs", "Runs", "u"),
    Page("/catalog", "Catalog", "a"),
    Page("/rejections", "Rejections", "r"),
    Page("/signals", "Signals", "s"),
    Page("/system", "System", "y"),
)

"""The pages that the walk visits: name -> path. A further page is one line; a name in braces is a thing of the demo
that conftest.py finds (`things`)."""

PAGES = {
    "overview": "/",
    "meters": "/meters?meter=input_tokens&group=model&span=month30&compare=true",
    "meters-hours": "/meters?meter=tool_calls&span=day",
    "meters-refused": "/meters?meter=input_tokens&where=nothing",
    "customers": "/customers",
    "customer": "/customers/{customer}",
    "line": "/lines/{line}",
    "runs": "/runs",
    "run": "/runs/{run}",
    "catalog": "/catalog",
    "catalog-price": "/catalog/prices/tool-calls",
    "catalog-diff": "/catalog/diff",
    "what-if": "/catalog/what-if?price=tool-calls&price=fee/team",
    "rejections": "/rejections",
    "rejection": "/rejections/{rejection}",
    "signals": "/signals",
    "signal": "/signals/{signal}",
    "endpoint": "/signals/endpoints/{endpoint}",
    "system": "/system",
    "unknown": "/signals/999999",
}
MAY_FAIL = {"meters-refused", "unknown"}
"""Here the server answers a problem, which the console tells too."""

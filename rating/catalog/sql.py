"""A meter's SQL expression: read by DuckDB, checked against a list of what is exact and repeatable, never run as SQL.

DuckDB's parser makes a syntax tree of the text. Only a single scalar expression over the declared properties passes, of
the functions of rating/core/expression.py: none of them asks a clock, a random number, a file or another event, and all
of them are exact on decimals. What has passed is evaluated by the core, in bulk, on columns. DuckDB is not asked to
evaluate anything, so that the answer does not depend on its version (docs/decisions/0016-sql-meters.md).
"""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

import duckdb

from rating.core.expression import FUNCTIONS, Call, Column, Constant, Expression, WrongExpression, event_value
from rating.core.schema import PropertyType

DEPTH_MAX = 100
LITERAL_DECIMALS_MAX = 9
LITERAL_LIMIT = Decimal(10) ** 18

Node = Mapping[str, Any]
Properties = Mapping[str, PropertyType]

_NAMES = {"ceiling": "ceil", "prefix": "starts_with", "suffix": "ends_with"}
_OPERATORS = frozenset({"+", "-", "*"})
_CALLED = frozenset({"abs", "floor", "ceil", "least", "greatest", "round", "starts_with", "ends_with", "contains"})
_ARGUMENTS = {"abs": (1,), "floor": (1,), "ceil": (1,), "round": (1, 2), "starts_with": (2,), "ends_with": (2,)} | {
    "contains": (2,), "+": (1, 2), "-": (1, 2), "*": (2,)
}  # fmt: skip
_COMPARED = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
}


def parsed_expression(text: str, properties: Properties) -> Expression:
    """The expression that `text` says. Raises WrongExpression with a sentence for the author of the catalog."""
    expression = _expression(_parsed(text), properties, 0)
    event_value(expression)  # its parts fit together, and it is a number
    return expression


@lru_cache(maxsize=1000)
def _parsed(text: str) -> Node:
    """The syntax tree of the one expression in `text`."""
    with duckdb.connect(":memory:", config={"enable_external_access": "false", "threads": 1}) as parser:
        row = parser.execute("SELECT json_serialize_sql(?)", [f"SELECT {text}"]).fetchone()
    assert row is not None, "a SELECT of a constant has one row"
    try:
        tree = json.loads(row[0])
    except RecursionError:
        raise WrongExpression("This expression is nested too deep.") from None
    if tree["error"]:
        raise WrongExpression(f"This is not an expression of SQL: {str(tree.get('error_message', '')).splitlines()[0]}")
    statements = tree["statements"]
    node = statements[0]["node"] if len(statements) == 1 else {}
    listed = node.get("select_list", [])
    extra = [name for name in _CLAUSES if _is_given(node.get(name))]
    is_plain = node.get("type") == "SELECT_NODE" and (node.get("from_table") or {}).get("type") == "EMPTY"
    if not is_plain or extra or len(listed) != 1 or listed[0].get("alias"):
        raise WrongExpression("This must be one scalar expression, without FROM, WHERE or any other clause.")
    return dict(listed[0])


_CLAUSES = ("modifiers", "where_clause", "group_expressions", "group_sets", "having", "qualify", "sample")


def _is_given(clause: object) -> bool:
    return bool(clause)


def _expression(node: Node, properties: Properties, depth: int) -> Expression:
    if depth > DEPTH_MAX:
        raise WrongExpression(f"This expression is nested more than {DEPTH_MAX} deep.")

    def inner(child: Node) -> Expression:
        return _expression(child, properties, depth + 1)

    kind = str(node["class"])
    if kind == "COLUMN_REF":
        return _column(node, properties)
    read = _READ.get(kind)
    if read is None:
        raise WrongExpression(f"{_what(node)} cannot be used here.")
    return read(node, inner)


Inner = Callable[[Node], Expression]


def _column(node: Node, properties: Properties) -> Expression:
    name = ".".join(node["column_names"])
    if name not in properties:
        raise WrongExpression(f"`{name}` is not one of the `properties` of the meter.")
    return Column(name, properties[name])


def _constant(node: Node, inner: Inner) -> Expression:
    literal = node.get("literal") or {}
    kind, text = literal.get("kind"), literal.get("text", "")
    if kind == "STRING":
        return Constant(str(text))
    if kind in ("INTEGER", "NUMERIC") and _is_plain(str(text).removeprefix("-")):
        return Constant(_decimal(str(text)))
    if kind == "NULL_LITERAL":
        return Constant(None)
    if kind == "BOOLEAN":
        return Constant(str(text).lower() == "true")
    raise WrongExpression(f"The constant {text or kind} cannot be used: numbers are plain decimals.")


def _is_plain(text: str) -> bool:
    return text.replace(".", "", 1).isascii() and text.replace(".", "", 1).isdigit()


def _decimal(text: str) -> Decimal:
    number = Decimal(text)
    if abs(number) >= LITERAL_LIMIT or -int(number.as_tuple().exponent) > LITERAL_DECIMALS_MAX:
        raise WrongExpression(f"{text} has more than {LITERAL_DECIMALS_MAX} decimals or is 10^18 or more.")
    return number


def _function(node: Node, inner: Inner) -> Expression:
    name = str(node["function_name"]).lower()
    name = _NAMES.get(name, name)
    is_known = name in _OPERATORS if node["is_operator"] else name in _CALLED
    is_plain = not (node.get("distinct") or node.get("filter") or node.get("schema") or node.get("catalog"))
    if not is_known or not is_plain or (node.get("order_bys") or {}).get("orders"):
        raise WrongExpression(_refused(name))
    arguments = [argument["expression"] for argument in node["arguments"]]
    if len(arguments) not in _ARGUMENTS.get(name, (len(arguments) or 1,)):
        raise WrongExpression(f"`{name}` does not take {len(arguments)} arguments.")
    made = [inner(argument) for argument in arguments]
    return Call(name, (made[0], _step(made[1:]))) if name == "round" else Call(name, tuple(made))


def _refused(name: str) -> str:
    if name in ("/", "//", "%", "**", "^"):
        return f"`{name}` is not exact on decimals; divide the whole quantity with the meter's `divide_by`."
    known = ", ".join(sorted(_CALLED))
    return f"`{name}` cannot be used here: not every function is exact and repeatable. The functions are {known}."


def _step(decimals: list[Expression]) -> Expression:
    """The last decimal that `round` keeps: 0.01 for two."""
    given = decimals[0] if decimals else Constant(Decimal(0))
    if not isinstance(given, Constant) or not isinstance(given.value, Decimal) or given.value not in range(10):
        raise WrongExpression("`round` needs a constant number of decimals, from 0 to 9.")
    return Constant(Decimal(1).scaleb(-int(given.value)))


def _operator(node: Node, inner: Inner) -> Expression:
    kind, children = str(node["type"]), [inner(child) for child in node["children"]]
    name = _OPERATED.get(kind)
    if name is None:
        raise WrongExpression(f"{_what(node)} cannot be used here.")
    made = Call("in" if name == "not in" else name, tuple(children))
    return Call("not", (made,)) if name == "not in" else made


_OPERATED = {
    "OPERATOR_NOT": "not",
    "OPERATOR_IS_NULL": "is null",
    "OPERATOR_IS_NOT_NULL": "is not null",
    "OPERATOR_COALESCE": "coalesce",
    "COMPARE_IN": "in",
    "COMPARE_NOT_IN": "not in",
}


def _comparison(node: Node, inner: Inner) -> Expression:
    name = _COMPARED.get(str(node["type"]))
    if name is None:
        raise WrongExpression(f"{_what(node)} cannot be used here.")
    return Call(name, (inner(node["left"]), inner(node["right"])))


def _between(node: Node, inner: Inner) -> Expression:
    given = inner(node["input"])
    return Call("and", (Call(">=", (given, inner(node["lower"]))), Call("<=", (given, inner(node["upper"])))))


def _conjunction(node: Node, inner: Inner) -> Expression:
    name = "and" if node["type"] == "CONJUNCTION_AND" else "or"
    return Call(name, tuple(inner(child) for child in node["children"]))


def _case(node: Node, inner: Inner) -> Expression:
    checks = [inner(check[part]) for check in node["case_checks"] for part in ("when_expr", "then_expr")]
    return Call("case", (*checks, inner(node["else_expr"])))


_READ: Mapping[str, Callable[[Node, Inner], Expression]] = {
    "CONSTANT": _constant,
    "FUNCTION": _function,
    "OPERATOR": _operator,
    "COMPARISON": _comparison,
    "BETWEEN": _between,
    "CONJUNCTION": _conjunction,
    "CASE": _case,
}


def _what(node: Node) -> str:
    return f"`{str(node.get('type', node['class'])).lower().replace('_', ' ')}`"


assert FUNCTIONS.keys() >= _CALLED | _OPERATORS

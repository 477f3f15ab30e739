"""What is mutated, and the tests that must notice: those that are nearest, so that a mutant takes seconds."""

from typing import NamedTuple


class Target(NamedTuple):
    """Modules, and the tests that are run against each of their mutants."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]


_OPERATORS = ("allow", "clamp", "compose", "credit", "partition", "price", "prorate", "tier", "weight")

TARGETS = {
    "money": Target(("rating/core/money.py",), ("tests/rating/test_money.py", "tests/rating/test_ratio.py")),
    "rounding": Target(("rating/core/rounding.py",), ("tests/rating/test_rounding.py",)),
    "periods": Target(("rating/core/periods.py",), ("tests/rating/test_periods.py",)),
    "operators": Target(
        tuple(f"rating/core/operators/{name}.py" for name in _OPERATORS), ("tests/rating/test_operators.py",)
    ),
    "credits": Target(
        ("rating/core/credits/order.py", "rating/core/credits/paying.py"),
        ("tests/rating/credits/test_ledgers.py", "tests/rating/credits/test_burning_equals_oracle.py"),
    ),
    "journal": Target(
        ("ingest/journal.py",),
        (
            "tests/ingest/test_journal_reading.py",
            "tests/ingest/test_journal_writing.py",
            "tests/ingest/test_journal.py",
        ),
    ),
    "identities": Target(
        ("ingest/identity_index/run.py",), ("tests/ingest/test_identity_run.py", "tests/ingest/test_identity_index.py")
    ),
}

EXCLUDED_OPERATORS = (
    "core/ReplaceBinaryOperator_.*_(LShift|RShift|BitXor|Pow|Mod|FloorDiv)",
    "core/ReplaceBinaryOperator_(Add|Sub|Mul|Div|Mod)_(BitOr|BitAnd)",
    "core/ReplaceBinaryOperator_Bit(Or|And)_(Add|Sub|Mul|Div)",
    "core/ReplaceComparisonOperator_.*_(Is|IsNot)",
)
"""Changes that no one writes by mistake, and that fail at once on a column."""

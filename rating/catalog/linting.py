"""The linter of price books: what a catalog may say, but hardly means.

What a catalog must not say at all (gaps and overlaps of tiers, versions out of order, unknown currencies) is refused
when it is read; see checks.py. Every finding here is about a catalog that can be rated. An **error** costs somebody
money by any reading, a **warning** may be meant. docs/linting.md has every code.
"""

from itertools import chain

from rating.catalog.findings import Finding
from rating.catalog.lint_charges import charge_findings
from rating.catalog.lint_entitlements import entitlement_findings
from rating.catalog.lint_use import use_findings
from rating.catalog.lint_versions import version_findings
from rating.catalog.model import Catalog


def lint(catalog: Catalog) -> list[Finding]:
    """Everything to look at in a catalog that has passed its checks, errors first."""
    found = [version_findings(catalog), charge_findings(catalog), use_findings(catalog), entitlement_findings(catalog)]
    return sorted(chain.from_iterable(found), key=lambda finding: finding.severity != "error")

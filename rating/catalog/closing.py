"""How billing periods are closed: when, and what becomes of usage and changes that come later."""

from typing import Annotated, Literal

from pydantic import Field

from rating.catalog.part import Part
from rating.core.service_periods import FinalBill


class Closing(Part):
    """The rule by which billing periods are closed."""

    grace_hours: Annotated[int, Field(ge=0, le=31 * 24)] = 24
    """How long after its end a billing period is still open, for usage that comes late: meter cutoff, grace and invoice
    cutoff at once."""
    final_bill: FinalBill = "period_end"
    """When a billing period is closed in which the subscription ends: when the period is over, or `at_end`, as soon as
    the subscription has ended; what comes later is then found when the period is over."""
    late: Literal["adjust", "document"] = "adjust"
    """Where what comes later still goes: `adjust`, as adjustment lines among those of the next run that closes
    something; `document`, as a run of its own beside that one, a restatement."""
    restate_months: Annotated[int, Field(ge=0, le=120)] = 12
    """How many months back closed periods are rated again."""

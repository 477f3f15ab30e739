"""Policies in the catalog file: what a plan does when a level of a limit is crossed."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from rating.catalog.entitlements import Threshold
from rating.catalog.frames import Row
from rating.catalog.literals import Names, PositiveQuantity, refusal
from rating.catalog.part import Part

ALL = "all"
EXHAUSTED = "100%"


def _short_action(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value != "suspend":
        cure = 'Write `suspend`, `{restrict: a plan}` or `{allow_overage: "1000"}`.'
        raise refusal("This is none of the choices.", cure)
    return {"suspend": True}


def _some_features(value: object) -> object:
    return [ALL] if value == ALL else value


class Action(Part):
    """What is done. Exactly one of these; `suspend` alone is a text."""

    suspend: Literal[True] | None = None
    """The customer is refused."""
    restrict: str | None = None
    """The limits of this plan hold."""
    allow_overage: PositiveQuantity | None = None
    """So much may be used above the limit."""


class Policy(Part):
    """What is done when usage crosses a level of a feature."""

    on: Literal["exhausted", "threshold", "negative", "anomaly"]
    """`exhausted`: the limit is reached; `threshold`: one of the thresholds of the entitlement; `negative`: more is
    used than limit and grants hold; `anomaly`: a subject uses far more than usual (see the feature)."""
    at: Threshold | None = None
    """Which threshold."""
    feature: str
    """Of which feature of the plan."""
    do: Annotated[Action, BeforeValidator(_short_action)]
    """`suspend`, `{restrict: free}` or `{allow_overage: "1000"}`."""
    features: Annotated[Names, BeforeValidator(_some_features)] = ()
    """For which features: `all`, or a list; the feature itself, unless given."""
    until: Literal["reset", "manual"] = Field("reset")
    """Until the window ends, or until it is ended by hand."""

    @property
    def level(self) -> str:
        """The level at which it is done."""
        if self.on == "threshold" and self.at is not None:
            return self.at
        return self.on if self.on in ("negative", "anomaly") else EXHAUSTED


def canonical_policy(given: dict[str, Any]) -> None:
    """One spelling for each meaning: the short ones."""
    if given["do"] == {"suspend": True}:
        given["do"] = "suspend"
    if given.get("features") == [ALL]:
        given["features"] = ALL
    elif "features" in given:
        given["features"].sort()


def policy_rows(plan: str, policies: Sequence[Policy]) -> Iterator[Row]:
    """The rows of POLICY."""
    for place, policy in enumerate(policies):
        action = policy.do
        state = "restricted" if action.restrict else "overage" if action.allow_overage else "suspended"
        features = [] if policy.features == (ALL,) else [*policy.features] or [policy.feature]
        numbers = action.allow_overage, action.restrict
        yield plan, place, policy.feature, policy.level, state, *numbers, sorted(features), policy.until

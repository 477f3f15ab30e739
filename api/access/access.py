"""Who may come in: one for each open data directory."""

from starlette.types import Scope

from api.access.caller import Caller
from api.access.keyless import caller_of_machine
from api.access.requirements import Requirement


class Access:
    """Every method may be called from any thread."""

    @property
    def is_keyless(self) -> bool:
        """Nobody has made a key or a user yet."""
        return True

    def identify(self, scope: Scope, requirement: Requirement) -> Caller:
        """Raises NotAuthenticated, NotAllowed and TooManyRequests."""
        return caller_of_machine(scope, is_gateway=requirement.is_gateway)

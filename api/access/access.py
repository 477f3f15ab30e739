"""Who may come in: one for each open data directory."""

import logging
from datetime import timedelta
from http.cookies import CookieError, SimpleCookie
from threading import Event, Thread

from starlette.types import Scope

from api.access.audit import AuditLog
from api.access.caller import LOCAL, Caller
from api.access.errors import NotAuthenticated
from api.access.keyless import caller_of_machine
from api.access.keys import KeyService
from api.access.requirements import Requirement
from api.access.sessions import SessionLimits, Sessions
from api.settings import Settings
from store import Store
from store.changes import Now
from store.errors import DatabaseUnavailable

COOKIE = "tallystick_session"
NOTED_SECONDS = 60.0
_BEARER = b"bearer "
_NOBODY = "send an API key: `Authorization: Bearer tsk_...` (the command line takes it from TALLYSTICK_API_KEY)"
_log = logging.getLogger(__name__)


class Access:
    """Keys, users and the audit log. Every method may be called from any thread."""

    def __init__(self, store: Store, settings: Settings, now: Now) -> None:
        idle, whole = timedelta(minutes=settings.session_idle_minutes), timedelta(hours=settings.session_hours)
        self._store = store
        self.keys = KeyService(store.api_keys, now)
        self.sessions = Sessions(store.users, SessionLimits(idle, whole), now)
        self.audit = AuditLog(store.audit)
        self._ends = Event()
        self._noting: Thread | None = None

    @property
    def is_keyless(self) -> bool:
        """Nobody has made a key or a user yet."""
        return not self.keys.exist and not self.sessions.exist

    def identify(self, scope: Scope, requirement: Requirement) -> Caller:
        """Raises NotAuthenticated, NotAllowed and TooManyRequests."""
        if self.is_keyless:
            return caller_of_machine(scope, is_gateway=requirement.is_gateway)
        token = None
        for name, value in scope["headers"]:
            if name == b"x-tallystick-key":  # of a gateway, whose `Authorization` is its client's
                return self.keys.caller(value)
            if name == b"authorization":
                token = value
        if token is not None:
            return self.keys.caller(token[len(_BEARER) :] if token[: len(_BEARER)].lower() == _BEARER else b"")
        session = session_token(scope)
        if session is None:
            raise NotAuthenticated(_NOBODY)
        return self.sessions.caller(session)

    def is_welcome(self, caller: Caller) -> bool:
        """Whether somebody who was let in before would be let in now: for answers that do not end."""
        if caller is LOCAL:
            return self.is_keyless
        if caller.kind == "session":
            return self.sessions.knows(caller.id)
        return caller.kind == "local" or self.keys.is_in_force(caller.id)

    def payer_of(self, subject: str) -> str | None:
        """The customer of a subject."""
        return self._store.customers.payer_of(subject)

    def start(self) -> None:
        """Note in the background, once a minute, when keys and sessions were used."""
        self._noting = Thread(target=self._note, name="access", daemon=True)
        self._noting.start()

    def close(self) -> None:
        """Note what was used since."""
        self._ends.set()
        if self._noting is not None:
            self._noting.join()
        self._note_used()

    def _note(self) -> None:
        while not self._ends.wait(NOTED_SECONDS):
            self._note_used()

    def _note_used(self) -> None:
        try:
            self.keys.note_used()
            self.sessions.note_used()
        except DatabaseUnavailable as error:
            _log.warning("when keys were used last could not be noted: %s", error)


def session_token(scope: Scope) -> str | None:
    """What the cookie of the dashboard has."""
    for name, value in scope["headers"]:
        if name == b"cookie":
            try:
                found = SimpleCookie(value.decode("latin-1")).get(COOKIE)
            except CookieError:
                return None
            if found is not None:
                return found.value
    return None

"""The crash loop: load a server, strike, start it again, compare its totals with the writers' ledger; many times.

The schedule (loads, instants, kinds of faults) follows from the seed; what the threads make of it does not, so a seed
repeats the kind of a run, not each byte. Half of the strikes come right behind an acknowledgement, when nothing synced
after it can hide what it did not sync itself.
"""

import random
import signal
import time
from dataclasses import dataclass, field
from threading import Event as Signal
from threading import Lock

from tests.crash.ledger import Finding, Ledger
from tests.crash.load import Load, resend_unacknowledged
from tests.crash.places import Place
from tests.crash.rating_runs import RunLedger, sell
from tests.crash.server import Server, Stuck

LAST_RESEND_SECONDS = 60


@dataclass(frozen=True)
class Plan:
    """How a run goes; `start_seconds` is about how long a start takes, for strikes while starting. When it `rates`, a
    client starts rating runs, too."""

    seed: int
    cycles: int
    writers: int = 4
    load_seconds_max: float = 0.3
    start_seconds: float = 1.0
    rates: bool = False


@dataclass
class Report:
    """What a run did and found; `cycles` were completed."""

    plan: Plan
    cycles: int = 0
    strikes_while_starting: int = 0
    requests: int = 0
    acknowledged_events: int = 0
    seconds: float = 0.0
    statuses: set[int] = field(default_factory=set)
    rating_runs: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    server_said: str = ""

    def __str__(self) -> str:
        lines = [f"{finding.kind}: {finding.what}" for finding in self.findings[:20]]
        head = (
            f"seed {self.plan.seed}: {self.cycles} of {self.plan.cycles} cycles, {self.strikes_while_starting} strikes "
            f"while starting, {self.requests} requests, {self.acknowledged_events} events acknowledged, "
            f"statuses {sorted(self.statuses)}, rating runs {self.rating_runs}, {self.seconds:.0f} s, "
            f"{len(self.findings)} findings"
        )
        said = [f"the server's last words:\n{self.server_said}"] if self.findings else []
        return "\n".join([head, *lines, *said])


def run(server: Server, place: Place, plan: Plan) -> Report:
    """Run until the plan is done or something is wrong; the server is ended, the place is left to the caller."""
    print(f"seed {plan.seed}", flush=True)
    chance, ledger, report = random.Random(plan.seed), Ledger(), Report(plan)
    runs = RunLedger(random.Random(plan.seed)) if plan.rates else None
    client = _Client(server, ledger, runs, report)
    started = time.monotonic()
    try:
        client.set_up()
        while report.cycles < plan.cycles and not report.findings:
            _cycle(client, place, plan, chance)
            report.cycles += 1
        if not report.findings:
            _finish(client, place)
    except Stuck as error:
        report.findings.append(Finding("STUCK", str(error)))
    finally:
        server.kill()
    report.server_said = server.said()
    report.requests, report.acknowledged_events = len(ledger.requests), len(ledger.acknowledged)
    report.rating_runs = {} if runs is None else runs.statuses()
    report.seconds = time.monotonic() - started
    return report


@dataclass(frozen=True)
class _Client:
    """What talks to the server, and knows what is right."""

    server: Server
    ledger: Ledger
    runs: RunLedger | None
    report: Report

    def set_up(self) -> None:
        """Start the server for the first time, declare what is needed, end it."""
        self.server.must_start()
        self.server.apply_catalog()
        if self.runs is not None:
            sell(self.server)
        self.server.end(signal.SIGTERM)

    def check(self) -> None:
        """Compare what the server says with what is known, while nobody else talks to it."""
        self.report.findings += self.ledger.check(self.server.totals())
        if self.runs is not None:
            self.report.findings += self.runs.check(self.server)


def _cycle(client: _Client, place: Place, plan: Plan, chance: random.Random) -> None:
    server, report = client.server, client.report
    if chance.random() < 0.15:
        _strike_while_starting(server, place, plan, chance, report)
    _start(server, place, place.prefix(chance))
    client.check()
    load_seed, behind, seconds = chance.random(), chance.randint(1, 30), chance.uniform(0, plan.load_seconds_max)
    strike = _Strike(place, server, random.Random(load_seed), behind if chance.random() < 0.5 else None)
    seed = int(load_seed * 2**32)
    load = Load(server.url, client.ledger, client.runs, seed, plan.writers, strike.on_acknowledged)
    strike.load = load
    ends_well = type(place) is Place and chance.random() < 0.15
    load.start()
    strike.struck.wait(seconds if strike.behind is None else plan.load_seconds_max * 5)
    if ends_well and not strike.struck.is_set():
        _end_well(server, report)
    else:
        strike.now()
        strike.struck.wait()
        place.settle(server, chance)
    load.stop()
    report.statuses |= load.statuses
    report.findings += client.ledger.findings


@dataclass
class _Strike:
    """One strike, from whichever thread comes first."""

    place: Place
    server: Server
    chance: random.Random
    behind: int | None
    load: Load | None = None
    struck: Signal = field(default_factory=Signal)
    _lock: Lock = field(default_factory=Lock)

    def on_acknowledged(self, count: int) -> None:
        if self.behind is not None and count >= self.behind:
            self.now()

    def now(self) -> None:
        """Strike unless that is done or under way; the others go on posting meanwhile."""
        if self._lock.acquire(blocking=False):
            try:
                self.place.blow(self.server, self.load, self.chance)
            finally:
                self.struck.set()


def _start(server: Server, place: Place, prefix: list[str]) -> None:
    """Start under `prefix`; without when a fault ends that, and after a repair of the place as the last way."""
    if prefix and server.start(prefix):
        return
    server.kill()
    if not server.start():
        server.kill()
        place.repair()
        server.must_start()


def _strike_while_starting(server: Server, place: Place, plan: Plan, chance: random.Random, report: Report) -> None:
    for _ in range(chance.randint(1, 3)):
        server.spawn()
        time.sleep(chance.uniform(0.3, 1.1) * plan.start_seconds)
        if not server.ended():
            place.blow(server, None, chance)
        place.settle(server, chance)
        report.strikes_while_starting += 1


def _end_well(server: Server, report: Report) -> None:
    code = server.end(signal.SIGTERM)
    if code != 0:
        report.findings.append(Finding("STUCK", f"exit code {code} after SIGTERM: {server.said()}"))


def _finish(client: _Client, place: Place) -> None:
    """Resend what no answer has confirmed: then each event that was ever sent is there exactly once, and stays so."""
    server, ledger, report = client.server, client.ledger, client.report
    _start(server, place, [])
    client.check()
    if not resend_unacknowledged(server.url, ledger, time.monotonic() + LAST_RESEND_SECONDS):
        report.findings.append(Finding("STUCK", f"{len(ledger.unacknowledged)} events are not taken: {server.said()}"))
    for _ in range(2):
        client.check()
        server.kill()
        server.must_start()

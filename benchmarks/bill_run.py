"""The bill run and what is asked around it. `accounts_per_second`: fees and usage of many accounts, rated in parts and
written (bill_accounts_run.py); `nothing_due`: a close that finds nothing (nothing_due.py); `simulation`: history by two
catalogs, compared (simulations.py); `current_charges`: what a customer's open period comes to by now
(current_charges.py)."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder: its scripts are named like the packages


from benchmarks.bill_accounts_run import measure_accounts
from benchmarks.current_charges import measure_current_charges
from benchmarks.measuring import Figure, main
from benchmarks.nothing_due import measure_nothing_due
from benchmarks.simulations import measure_simulation


def measure(quick: bool) -> dict[str, Figure]:
    return {
        "accounts_per_second": measure_accounts(quick),
        "nothing_due": measure_nothing_due(quick),
        "simulation": measure_simulation(quick),
        **measure_current_charges(quick),
    }


if __name__ == "__main__":
    main("what a bill run and a simulation take", measure)

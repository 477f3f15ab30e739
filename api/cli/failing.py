"""How a command fails: a sentence, what exactly is wrong, and an exit code that a scheduler can act on."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

FAILED = 1
USAGE = 2
BAD_DATA = 65
UNAVAILABLE = 69
TRY_AGAIN = 75
BAD_SETTINGS = 78

SHOWN_PROBLEMS_MAX = 50


class Failure(Exception):
    """A command cannot do what it was asked. `problems` has one entry for each single thing that is wrong."""

    def __init__(self, message: str, exit_code: int = FAILED, problems: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(message)
        self.message, self.exit_code, self.problems = message, exit_code, list(problems)


def report(failure: Failure, *, as_json: bool) -> None:
    """Say what failed on stderr; with `as_json` also as the one document on stdout."""
    if as_json:
        error = {"message": failure.message, "exit_code": failure.exit_code, "problems": failure.problems}
        print(json.dumps({"error": error}, ensure_ascii=False, default=str))
    print(f"tallystick: {failure.message}", file=sys.stderr)
    for problem in failure.problems[:SHOWN_PROBLEMS_MAX]:
        print(f"  {problem_line(problem)}", file=sys.stderr)
    if len(failure.problems) > SHOWN_PROBLEMS_MAX:
        print(f"  and {len(failure.problems) - SHOWN_PROBLEMS_MAX} more", file=sys.stderr)


def problem_line(problem: dict[str, Any]) -> str:
    """`path: message (found value) — cure`, without what the problem does not have."""
    path, found, cure = problem.get("path"), problem.get("value"), problem.get("cure")
    return "".join(
        [
            f"{path}: " if path else "",
            str(problem.get("message", "")),
            f" (found {found})" if found else "",
            f" — {cure}" if cure else "",
        ]
    )


@contextmanager
def failures_of_the_directory() -> Iterator[None]:
    """What opening a data directory may raise, as failures."""
    from pydantic import ValidationError

    from api.operating.settings_shown import wrong
    from api.settings import ConfigUnreadable
    from ingest.errors import DataDirectoryLocked, IngestError
    from store.errors import StoreError

    try:
        yield
    except DataDirectoryLocked as error:
        raise Failure(str(error), TRY_AGAIN) from error
    except (IngestError, StoreError) as error:
        raise Failure(str(error), FAILED) from error
    except ValidationError as error:
        raise Failure(wrong(error), BAD_SETTINGS) from error
    except ConfigUnreadable as error:
        raise Failure(f"{error}.", BAD_SETTINGS) from error
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise Failure(f"the data directory cannot be used:{where} {error.strerror or error}.", FAILED) from error

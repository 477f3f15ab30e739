"""The command line: `tallystick COMMAND`. `api.cli:main` is the entry point."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 ok, 1 failed or a problem found, 2 wrong usage, 65 bad data, 69 no server, 75 try
    again later, 78 settings that the server does not start with. A failure is one sentence with its cure on stderr, and
    a document on stdout with --json."""
    from api.cli.app import app
    from api.cli.failing import Failure, report

    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(args=given, prog_name="tallystick")
    except Failure as failure:
        report(failure, as_json="--json" in given)
        sys.exit(failure.exit_code)
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stdout = None  # nothing is left to flush at exit
        sys.exit(0)

"""Coverage-guided fuzzing of every decoder: `python tests/ingest/atheris_decoders.py -max_total_time=60`."""

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

with atheris.instrument_imports(include=["ingest.decode"]):
    from ingest.decode.media_types import CONTENT_TYPES
    from tests.ingest.test_fuzz import status


def one_input(data: bytes) -> None:
    """The first byte chooses the content type."""
    if data:
        status(data[1:], CONTENT_TYPES[data[0] % len(CONTENT_TYPES)])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()

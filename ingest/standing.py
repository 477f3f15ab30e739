"""Where a log stands: what an operator asks for."""

from pathlib import Path
from typing import Any

from ingest.contents import Contents
from ingest.identity_index import IdentityIndex
from ingest.journal import segment_paths
from ingest.rejections import RejectionStore
from ingest.writer import Writer


def standing(
    journal: Path, contents: Contents, writer: Writer, index: IdentityIndex, rejections: RejectionStore
) -> dict[str, Any]:
    """`failure` is null while all is well, `full` while there is room; the oldest event that only the journal has
    was received at `behind_since`, null where there is none."""
    view = contents.view()
    files = sizes(journal)
    return {
        "last_sequence": view.last_sequence,
        "table_version": view.table.version,
        "table_last_sequence": view.table.last_sequence,
        "table_files": view.table.files.height,
        "events_behind_table": sum(frame.height for frame in view.frames),
        "behind_since": view.frames[0].item(0, "received_at") if view.frames else None,
        "journal_segments": len(files),
        "journal_bytes": sum(files),
        "sealed_segments": len(contents.sealed()),
        "waiting_batches": writer.waiting,
        "known_identities": len(index),
        "identities_memory_bytes": index.memory_bytes,
        "rejections": rejections.status(),
        "failure": None if writer.failure is None else str(writer.failure),
        "full": None if writer.full is None else str(writer.full),
    }


def sizes(journal: Path) -> list[int]:
    """The bytes of each segment; one that is moved to the usage table meanwhile is left out."""
    found = []
    for path in segment_paths(journal):
        try:
            found.append(path.stat().st_size)
        except FileNotFoundError:
            continue
    return found

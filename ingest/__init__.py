"""The log of usage events: decode, admit, journal, usage table, scan. `ingest.log.UsageLog` is the way in."""

"""What an operator sees of a running server: metrics, logs, request ids, traces (docs/observability.md)."""

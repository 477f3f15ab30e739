"""Running a deployment: snapshots, backups and restores; what is known of one subject, and its erasure."""

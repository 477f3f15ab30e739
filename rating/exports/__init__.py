"""Charge lines in the forms that others read: cost data (FOCUS), lines of invoices (EN 16931), a summary."""

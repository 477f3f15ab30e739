"""Quotas: what a customer may use, what has been used of it, and what becomes of that at the limits."""

"""Webhooks: signals sent to endpoints, signed, in order per customer, until they are taken."""

"""Who asks, and what they may: callers, scopes, the table of what each route needs, and the guard that obeys it."""

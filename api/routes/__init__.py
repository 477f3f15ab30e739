"""The routes, one file a subject. A route parses, calls one service and shapes the reply."""

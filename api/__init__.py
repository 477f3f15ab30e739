"""Faces: HTTP routes, command line, settings, and the facade that both of them drive."""

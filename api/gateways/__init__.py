"""Faces of the quota check for gateways that ask in their own words: over HTTP as an authorization, and over gRPC."""

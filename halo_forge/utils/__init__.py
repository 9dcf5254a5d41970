"""Helpers on the standard library alone."""

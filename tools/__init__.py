"""Checks of the tree itself, for developers; not part of the package."""

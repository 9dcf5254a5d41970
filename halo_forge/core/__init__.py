"""Nouns, errors, identities and the plug-in door."""

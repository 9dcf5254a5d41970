"""Prompts and training files in, typed records out."""

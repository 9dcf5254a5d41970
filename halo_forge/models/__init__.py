"""Weights, adapters, chat templates, checkpoints, the built-in model."""

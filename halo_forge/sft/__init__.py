"""The one place that takes gradient steps."""

"""Text out of weights."""

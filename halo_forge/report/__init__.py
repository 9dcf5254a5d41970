"""Tables out of run directories."""

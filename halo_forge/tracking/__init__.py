"""Tell what happens."""

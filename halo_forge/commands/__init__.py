"""One small file per command group: parse, config, one call, show."""

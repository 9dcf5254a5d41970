"""Vision: what is plugged into the one loop so that models that see are trained by it."""

"""halo-forge: verified training you can believe, on one workstation."""

__version__ = "0.1.0"

__all__ = ["__version__"]

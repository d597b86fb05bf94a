"""The version of this package, which the files that it writes carry."""

__version__ = "0.1.0"

"""The version of this project, which its command, its wheel and CITATION.cff name."""

__version__ = "0.1.0"

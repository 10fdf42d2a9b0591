"""Models as transformers folders: find, load, encode. The import of this package imports no torch."""

"""Models as ordinary transformers folders: finding, loading, encoding. Importing this package imports no torch."""

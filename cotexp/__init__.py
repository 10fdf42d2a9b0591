"""How much of a chain of thought does a model need, and which chains of thought should a small model learn from?"""

__version__ = "0.1.0"

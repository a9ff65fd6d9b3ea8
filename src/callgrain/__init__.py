"""Callgrain finds which grain of function calling a model lacks, and trains or patches exactly that."""

__version__ = "0.1.0"

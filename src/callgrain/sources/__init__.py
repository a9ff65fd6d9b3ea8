"""Data sets and worlds that yield Traces."""

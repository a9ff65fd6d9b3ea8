"""Diagnoses: verdicts are read into readings."""

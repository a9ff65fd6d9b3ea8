"""Sections of the page: a probe's readings, drawn."""

"""Figures that the project states, each with the command that shows it."""

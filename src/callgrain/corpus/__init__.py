"""Rows for training, from traces."""

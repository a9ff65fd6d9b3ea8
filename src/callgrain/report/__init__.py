"""Readings on a page, and one run against another."""

"""Importers of tools and the worlds that run them: a SPEC becomes a Catalogue."""

"""Faults, and how a reply is held against an answer."""

"""Procedural bodies with exact partial volume."""

"""Weights that others have published, run as their authors run them, on networks written here."""

"""Faults injected into real runs of the app, and what became of the results.

``python -m faults`` runs all of them and writes docs/reliability.md. Nothing here is part of the package.
"""

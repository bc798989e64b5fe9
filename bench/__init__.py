"""Measurements of accuracy, speed and scale, run from the repository (`make bench`); never installed."""

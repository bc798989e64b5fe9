"""Soft ground truth of a dataset's sessions: one mask per contrast in, one soft mask for each out."""

"""Contrast-agnostic soft segmentation of the spinal cord, as a BIDS App."""

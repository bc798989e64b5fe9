"""The network that segments the cord, and how it is run."""

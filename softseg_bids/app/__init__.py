"""The BIDS App: steps, workflow, command line."""

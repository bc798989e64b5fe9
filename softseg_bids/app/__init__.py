"""The BIDS App: steps, workflow, command line.

Importing any part of it first makes the environment safe for the libraries it uses; worker
processes import it too.
"""

from softseg_bids.app.environment import identify

identify()

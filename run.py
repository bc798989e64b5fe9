#!/usr/bin/env python3
"""softseg as a BIDS App: run.py BIDS_DIR OUTPUT_DIR {participant,group} [options]."""

import sys

from softseg_bids.app.cli import main

# Worker processes import this file again: nothing but the guard may run.
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

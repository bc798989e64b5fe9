"""What a BIDS dataset holds, and what is written beside it."""

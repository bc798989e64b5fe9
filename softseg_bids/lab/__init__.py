"""Training on a lab's own datasets: the one room that knows both BIDS and training."""

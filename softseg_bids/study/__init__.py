"""Methods judged on a lab's own data: against other masks, against an older model, against labels."""

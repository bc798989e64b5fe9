"""Ground floor: arrays in, arrays out."""

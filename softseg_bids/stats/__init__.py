"""Statistics over people, contrasts and sites."""

"""How the images are locked, built and tried; nothing of this is installed with the app."""

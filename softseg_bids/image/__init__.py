"""Images: where voxels are, and NIfTI files."""

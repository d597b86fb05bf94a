"""HDF5: groups of episodes, and flat arrays."""

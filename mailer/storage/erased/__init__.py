"""The people who were erased: known by hashes alone, so that they stay away."""

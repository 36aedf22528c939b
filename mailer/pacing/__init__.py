"""How fast mail goes out, over all processes together."""

"""CSS in the style attributes of the elements that it is about, as some mail programs read no other."""

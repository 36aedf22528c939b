"""JSON over HTTP: a module for each resource, and what their views share."""

"""The blueprints, one file per resource."""

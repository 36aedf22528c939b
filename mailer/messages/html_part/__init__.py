"""The HTML part: markup cut at its placeholders."""

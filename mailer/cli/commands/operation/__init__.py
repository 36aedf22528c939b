"""Commands that tell operators what went on."""

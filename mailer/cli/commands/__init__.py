"""The commands, each file named after its command or group."""

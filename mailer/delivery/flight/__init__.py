"""The flight record: what of a checkpoint was in a transport's hands, kept where it outlives a killed process."""

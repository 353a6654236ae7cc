"""Assets that run when a session of bars is complete."""

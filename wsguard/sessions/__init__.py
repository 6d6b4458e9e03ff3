"""Floor 1: who is connected and how each connection ends. Pure and synchronous: `now` and `rng` are arguments."""

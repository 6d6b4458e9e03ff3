"""Floor 2: finding, reading and watching the policy files; a reload is atomic or it does not happen."""

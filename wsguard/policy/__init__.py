"""Floor 1: the policy file as types, and every decision it leads to. Pure: `now` is an argument."""

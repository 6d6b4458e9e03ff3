"""Floor 0: what the RFCs say, as pure functions and values. No I/O, no clock, no randomness, no logging."""

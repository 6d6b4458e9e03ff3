"""Floor 2: the door (aiohttp), the hand-over, and the splice behind it."""

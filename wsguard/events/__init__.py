"""Floor 2: sessions that end elsewhere, heard from identity providers and from streams between replicas."""

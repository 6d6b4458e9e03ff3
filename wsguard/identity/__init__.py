"""Floor 2: facts about a credential that are fetched from outside: key sets, and the word of services."""

"""Floor 2: facts about a credential that are fetched from outside (today: JSON Web Key Sets)."""

"""What texts a model had better not learn from, found and left out, with a report of all of it."""

"""What a model's page claims, held against what is true, for one model or for millions."""

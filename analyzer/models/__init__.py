"""Model repositories: models, their configurations, variants, dependencies and file hashes."""

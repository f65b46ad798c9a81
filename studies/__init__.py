"""What emcheck measures of its own layers and of others: claims, contests, density, survey."""

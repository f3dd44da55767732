"""What several rooms use."""

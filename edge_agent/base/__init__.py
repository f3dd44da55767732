"""What several rooms use: settings, errors, the clock, the shared picture of what goes on."""

"""Pure rules: no clock, file, socket, randomness or logger; time and draws are arguments."""

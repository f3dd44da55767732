"""Pure rules of uploads: no clock, file, database or logger; time is an argument."""

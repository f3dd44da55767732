"""What `setup` of both programs does to a machine: noted before it is done, so that all of it can be undone."""

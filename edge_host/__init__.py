"""What the agent and the server both need of the machine they run on; it imports neither."""

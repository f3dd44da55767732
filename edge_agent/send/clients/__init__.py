"""How the agent talks to a server: one interface, and a client for each protocol that has it."""

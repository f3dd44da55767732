"""What `edge-agent check` looks at: one module for each thing that must work."""

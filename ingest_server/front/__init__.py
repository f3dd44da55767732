"""HTTP at the socket: connections, heads, bodies, answers. Only http_server and connection know cheroot."""

"""HTTP at the socket: connections, heads, bodies, answers. Only cheroot_parts imports cheroot."""

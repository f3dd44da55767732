"""What is given out: Debian packages, an apt repository, a list of what is in them."""

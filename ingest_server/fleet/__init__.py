"""What devices report, and what they are asked: seen by an operator, and never waited for by an upload."""

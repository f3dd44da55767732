"""The folder of recordings: noticing, settling, reading and letting go of them."""

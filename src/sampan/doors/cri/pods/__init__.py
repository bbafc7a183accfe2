"""Pod sandboxes and their containers, as far as they are ours: what is done to them, and what is told of them."""

"""The ImageService on our store, and images as containers need them; where they come from, and whose word opens it."""

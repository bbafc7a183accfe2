"""What to run: the content store, unpacking, the image formats, the registry client, building.

Runs nothing; may import `engine`, `linux`, `wire` and `core`. The HTTP and zstd libraries live only here.
"""

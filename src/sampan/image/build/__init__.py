"""Building images from a Dockerfile or straight from a `.wasm`: no daemon, no RUN, the same bytes every time."""

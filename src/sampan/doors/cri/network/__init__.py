"""The network of pods: CNI plugins, called as other runtimes call them."""

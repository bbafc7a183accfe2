// Stands for a Wasm runtime that an image brings along: it opens the module that it is given and serves for it.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\nHello from a Linux binary\n";

static int is_module(const char *path) {
    char magic[4] = "";
    FILE *file = fopen(path, "rb");
    return file && fread(magic, 1, 4, file) == 4 && memcmp(magic, "\0asm", 4) == 0;
}

static int listen_on(unsigned short port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16)) exit(1);
    return listener;
}

int main(int argc, char **argv) {
    if (argc != 4 || strcmp(argv[1], "--dir") || !is_module(argv[3])) return 2;
    printf("pid %d serves %s\n", getpid(), argv[3]);
    fflush(stdout);
    for (int listener = listen_on(atoi(getenv("PORT"))), client; (client = accept(listener, 0, 0)) >= 0; close(client)) {
        char request[4096];
        if (read(client, request, sizeof request) > 0) write(client, answer, sizeof answer - 1);
    }
    return 1;
}

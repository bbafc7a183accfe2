// Answers every HTTP/1.1 request with `Hello, World!`, on port 8080 or the one in the environment's PORT.
// One thread, many connections: it waits in poll_oneoff for all of them.
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasi/api.h>

#include "wasmedge_socket.h"

enum { MOST = 256, REQUEST_SIZE = 8192 };

static const char answer[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, World!\n";

struct connection {
    uint32_t fd;
    uint32_t size;  // bytes of a request that has not ended yet
    char request[REQUEST_SIZE];
};

static struct connection connections[MOST];
static uint32_t count;

static void check(uint32_t error, const char *what) {
    if (!error) return;
    fprintf(stderr, "http-server: %s: errno %u\n", what, error);
    exit(1);
}

static uint32_t listen_on(uint16_t port) {
    uint32_t fd, yes = 1;
    uint8_t any[4] = {0, 0, 0, 0};
    struct address address = {any, sizeof any};
    check(sock_open(FAMILY_INET4, TYPE_STREAM, &fd), "sock_open");
    check(sock_setsockopt(fd, LEVEL_SOCKET, OPTION_REUSEADDR, &yes, sizeof yes), "sock_setsockopt");
    check(sock_bind(fd, &address, port), "sock_bind");
    check(sock_listen(fd, 128), "sock_listen");
    check(__wasi_fd_fdstat_set_flags(fd, __WASI_FDFLAGS_NONBLOCK), "fd_fdstat_set_flags");
    return fd;
}

static void accept_all(uint32_t listener) {
    uint32_t fd;
    while (count < MOST && sock_accept(listener, &fd) == 0) {
        check(__wasi_fd_fdstat_set_flags(fd, __WASI_FDFLAGS_NONBLOCK), "fd_fdstat_set_flags");
        connections[count].fd = fd;
        connections[count++].size = 0;
    }
}

static void hang_up(struct connection *connection) {
    sock_shutdown(connection->fd, SHUTDOWN_BOTH);
    check(__wasi_fd_close(connection->fd), "fd_close");
    struct connection *last = &connections[--count];
    connection->fd = last->fd;
    connection->size = last->size;
    memcpy(connection->request, last->request, last->size);
}

// False when the connection has ended or sent something too long.
static bool serve(struct connection *connection) {
    uint32_t size, flags;
    struct io_vector into = {connection->request + connection->size, REQUEST_SIZE - connection->size};
    if (into.size == 0) return false;
    uint32_t error = sock_recv(connection->fd, &into, 1, 0, &size, &flags);
    if (error == __WASI_ERRNO_AGAIN) return true;
    if (error || size == 0) return false;
    connection->size += size;
    if (connection->size < 4 || memcmp(connection->request + connection->size - 4, "\r\n\r\n", 4)) return true;
    connection->size = 0;
    struct io_vector from = {(void *)answer, sizeof answer - 1};
    return sock_send(connection->fd, &from, 1, 0, &size) == 0 && size == sizeof answer - 1;
}

static void wait_for_some(uint32_t listener) {
    static __wasi_subscription_t wanted[MOST + 1];
    static __wasi_event_t events[MOST + 1];
    for (uint32_t i = 0; i <= count; i++) {
        wanted[i].userdata = i;
        wanted[i].u.tag = __WASI_EVENTTYPE_FD_READ;
        wanted[i].u.u.fd_read.file_descriptor = i < count ? connections[i].fd : listener;
    }
    __wasi_size_t ready, waiting = count;
    // At the most, newcomers wait in the kernel's queue.
    check(__wasi_poll_oneoff(wanted, events, count + (count < MOST), &ready), "poll_oneoff");
    // Backwards: a connection that ends is replaced by the last one, which has had its turn by then.
    for (uint32_t i = ready; i-- > 0;) {
        if (events[i].userdata == waiting) accept_all(listener);
        else if (!serve(&connections[events[i].userdata])) hang_up(&connections[events[i].userdata]);
    }
}

int main(void) {
    const char *wish = getenv("PORT");
    uint16_t port = wish ? atoi(wish) : 8080;
    uint32_t listener = listen_on(port);
    printf("listening on port %u\n", port);
    fflush(stdout);
    for (;;) wait_for_some(listener);
}

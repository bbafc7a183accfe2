// Ways to the network that a guest without one can try, with WasmEdge's socket calls; lines as in files.c.
//
// Arguments: the port that something of the host listens on, at every address; `granted` where the container has a
// network of its own, so that a socket may be made, though it leads nowhere.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))
typedef struct { const uint8_t *data; uint32_t size; } buffer;

WASI(sock_open) int sock_open(int family, int type, int *fd);
WASI(sock_bind) int sock_bind(int fd, buffer *address, int port);
WASI(sock_listen) int sock_listen(int fd, int backlog);
WASI(sock_connect) int sock_connect(int fd, buffer *address, int port);
WASI(sock_send_to) int sock_send_to(int fd, buffer *data, int count, buffer *to, int port, int flags, int *sent);
WASI(sock_setsockopt) int sock_setsockopt(int fd, int level, int name, int *value, int size);
WASI(sock_getpeeraddr) int sock_getpeeraddr(int fd, buffer *address, int *port);

enum { INET4 = 1, INET6 = 2, UNIX = 3, DATAGRAM = 1, STREAM = 2, BIND_TO_DEVICE = 14 };

static void tell(const char *name, int error) {
    printf(error ? "refused %s: errno %d\n" : "escaped %s\n", name, error);
}

static void connect_to(const char *name, int family, const uint8_t *address, int size, int port) {
    int fd = -1, error = sock_open(family, STREAM, &fd);
    buffer to = {address, size};
    tell(name, error ? error : sock_connect(fd, &to, port));
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    int port = atoi(argv[1]), granted = argc > 2, fd = -1, sent = 0;
    uint8_t loopback[4] = {127, 0, 0, 1}, any[4] = {0}, metadata[4] = {169, 254, 169, 254}, far[4] = {192, 0, 2, 1};
    uint8_t loopback6[16] = {[15] = 1}, mapped[16] = {[10] = 255, 255, 127, 0, 0, 1}, name[16] = "/run/x.sock";
    connect_to("connect to the host's loopback", INET4, loopback, 4, port);
    connect_to("connect to any address", INET4, any, 4, port);
    connect_to("connect to the metadata service", INET4, metadata, 4, 80);
    connect_to("connect to the network", INET4, far, 4, 443);
    connect_to("connect by IPv6", INET6, loopback6, 16, port);
    connect_to("connect by a mapped address", INET6, mapped, 16, port);
    tell("a UNIX socket", sock_open(UNIX, STREAM, &fd));
    tell("a socket of no family", sock_open(16, 3, &fd));
    tell("a raw socket", sock_open(INET4, 3, &fd));
    tell("a packet socket", sock_open(17, 3, &fd));

    buffer to = {loopback, 4}, data = {loopback, 4}, where = {name, 11};
    int error = sock_open(INET4, DATAGRAM, &fd);
    error = error ? error : sock_send_to(fd, &data, 1, &to, port, 0, &sent);
    if (!granted) tell("a datagram to the host", error);  // else it goes to its own loopback
    error = sock_open(INET4, STREAM, &fd);
    if (!granted) tell("a socket at all", error);
    tell("a path as an address", error ? error : sock_connect(fd, &where, port));
    buffer huge = {(const uint8_t *)64, 0xffffffff};
    tell("an address of 4 GiB", error ? error : sock_connect(fd, &huge, port));
    int device = 1;
    tell("bind to a device", error ? error : sock_setsockopt(fd, 0, BIND_TO_DEVICE, &device, 4));
    tell("another level of options", error ? error : sock_setsockopt(fd, 41, 99, &device, 4));
    if (!granted) {
        error = error ? error : sock_bind(fd, &(buffer){any, 4}, 18080);
        tell("listen on the host", error ? error : sock_listen(fd, 1));
    }
    uint8_t place[128];
    int number = 0;
    for (int odd = 0; odd < 1100; odd++) {
        if (odd == fd) continue;
        if (!sock_getpeeraddr(odd, &(buffer){place, sizeof place}, &number)) tell("a socket that was not made", 0);
    }
    tell("sockets that were not made", 1);
    printf("end\n");
    fflush(stdout);
    return 0;
}

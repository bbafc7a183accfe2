// Every way out of its folders that a WASI guest can try with files and descriptors; a line for each:
//
//   refused NAME: errno 44     escaped NAME: what it got     works NAME (what must not be refused)
//
// Arguments: a folder of the host that the guest was not given, with a file `secret` in it; then names of attempts
// that would end the guest, to make just these. The root folder is the first preopen; see `places.py` for what is
// in it. The calls are WASI's own, since a libc would judge the paths before them.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasi/api.h>

#pragma clang diagnostic ignored "-Wunused-result"  // what must be refused is told; the rest only tidies up

enum { ROOT = 3, MOST_FDS = 1100 };
enum { READ = __WASI_RIGHTS_FD_READ | __WASI_RIGHTS_FD_READDIR | __WASI_RIGHTS_FD_FILESTAT_GET };
enum { WRITE = READ | __WASI_RIGHTS_FD_WRITE | __WASI_RIGHTS_FD_FILESTAT_SET_SIZE };
static const uint64_t ALL = (1u << 29) - 1;
extern char **environ;

static int rw, ro, fixed;
static const char *outside;

static void tell(const char *name, int error, const char *got) {
    if (error) printf("refused %s: errno %d\n", name, error);
    else printf("escaped %s: %s\n", name, got);
}

static void must_work(const char *name, int error) {
    if (error) printf("broken %s: errno %d\n", name, error);
    else printf("works %s\n", name);
}

static int open_at(int folder, const char *path, int flags, uint64_t rights, int fdflags, int *fd) {
    return __wasi_path_open(folder, __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW, path, flags, rights, rights, fdflags, fd);
}

static const char *to(const char *format) {  // `@` is the outside folder, without its first slash
    static char path[8192];
    char *end = path;
    for (; *format; format++) end = *format == '@' ? stpcpy(end, outside + 1) : (*end = *format, end + 1);
    *end = 0;
    return path;
}

static void try_open(const char *name, int folder, const char *path, int flags, uint64_t rights) {
    int fd = -1, error = open_at(folder, path, flags, rights, __WASI_FDFLAGS_NONBLOCK, &fd);
    char head[24] = "";
    if (!error) {
        __wasi_iovec_t into = {(uint8_t *)head, sizeof head - 1};
        __wasi_size_t size = 0;
        __wasi_fd_read(fd, &into, 1, &size);
        for (char *c = head; *c; c++) if (*c < ' ') *c = '.';
        __wasi_fd_close(fd);
    }
    tell(name, error, head);
}

// Names that are there, or would be if the host's files were

static const char *READS[] = {
    "..", "../..", "./..", "rw/../..", "rw/./../../..", "../../../../../../../../../../../../@/secret", "/@/secret",
    "@/secret", "//@/secret", "rw/../../../../../../../@/secret", "inside/../../@/secret", "/", "/..", "/etc/shadow",
    "etc/shadow", "//etc/passwd", "../etc/passwd", "/root", "link-absolute", "link-relative", "link-folder/secret",
    "link-folder", "link-folder/../..", "chain-3", "link-up", "link-up/@/secret", "link-root/etc/passwd",
    "link-root/@/secret", "link-proc", "link-proc-root/@/secret", "link-loop", "link-dev", "link-fd/0",
    "rw/link-absolute", "rw/link-relative", "rw/link-folder/secret", "ro/link-relative",
    "proc/self/mem", "proc/self/environ", "proc/self/maps", "proc/self/exe", "proc/self/root", "proc/self/cwd",
    "proc/self/fd/0", "proc/self/fd/3", "proc/thread-self/mem", "proc/1/environ", "proc/1/mem", "proc/1/root/@/secret",
    "proc/kcore", "proc/keys", "proc/kallsyms", "proc/sys/kernel/core_pattern", "proc/sysrq-trigger", "proc/mounts",
    "sys/kernel", "sys/class", "sys/fs/cgroup", "sys/firmware", "dev/null", "dev/mem", "dev/kmsg", "dev/ptmx",
    "dev/pts/0", "dev/fd/0", "dev/stdin", "dev/tty", "dev/mqueue", "dev/shm", "dev/console",
    "p/self/mem", "p/self/environ", "p/1/environ", "p/self/root/@/secret", "p/sys/kernel/core_pattern", "p/mounts",
    "pp/self/mem", "pp/1/environ", "pp/self/cwd", "s/kernel", "ss/fs/cgroup", "c/memory/tasks", "c/memory/release_agent", "c/unified/cgroup.procs", "c/cgroup.procs", "ns/mnt",
    "d/null", "d/mem", "d/kmsg", "d/ptmx", "d/pts/0", "d/fd/0", "dd/pts/0", "dd/mem", "dd/mqueue",
    "nodes/null", "nodes/zero", "nodes/mem", "nodes/kmsg", "nodes/tty", "nodes/disk", "nodes/fuse", "rw/node",
    "socket", "masked/secret", "rw/../masked/secret", ".preopens/0/../../..", "",
};

static const char *WRITES[] = {
    "new", "inside", "etc/new", "ro/new", "ro/file", "fixed/new", "fixed/file", "masked/new", "masked-file",
    "nodes/null", "rw/node", "d/null", "p/self/mem", "p/sys/kernel/core_pattern", "pp/sysrq-trigger", "link-absolute",
    "link-relative", "link-new", "rw/link-new", "link-folder/new", "rw/link-folder/new", "../new", "/@/new", "/tmp/new",
    "proc/self/mem", "proc/sysrq-trigger", "proc/sys/kernel/core_pattern", "sys/kernel/uevent_helper", "dev/kmsg",
    "s/kernel/uevent_helper", "c/memory/tasks", "c/memory/release_agent", "c/unified/cgroup.procs", "c/devices/devices.allow",
};

static void names(void) {
    char name[8300];
    for (size_t i = 0; i < sizeof READS / sizeof *READS; i++) {
        snprintf(name, sizeof name, "open '%s'", READS[i]);
        try_open(name, ROOT, to(READS[i]), 0, READ);
    }
    for (size_t i = 0; i < sizeof WRITES / sizeof *WRITES; i++) {
        snprintf(name, sizeof name, "write '%s'", WRITES[i]);
        try_open(name, ROOT, to(WRITES[i]), __WASI_OFLAGS_CREAT, WRITE);
        snprintf(name, sizeof name, "truncate '%s'", WRITES[i]);
        try_open(name, ROOT, to(WRITES[i]), __WASI_OFLAGS_TRUNC, WRITE);
    }
    static char up[8000];
    for (int i = 0; i < 400; i++) strcat(up, "../");
    strcat(up, outside + 1);
    char text[8] = "";
    __wasi_iovec_t into = {(uint8_t *)text, sizeof text - 1};
    int fd = -1;
    __wasi_size_t size;
    if (!open_at(ROOT, "masked-file", 0, READ, 0, &fd)) {
        __wasi_fd_read(fd, &into, 1, &size);
        __wasi_fd_close(fd);
    }
    tell("what is in a masked file", !*text, text);
    *text = 0;
    if (!open_at(ROOT, "environ-of-1", 0, READ, 0, &fd)) {
        __wasi_fd_read(fd, &into, 1, &size);
        __wasi_fd_close(fd);
    }
    tell("what is in a file of proc", !*text, text);
    try_open("400 times up", ROOT, up, 0, READ);
    memset(up, 'a', 300), up[300] = 0;
    try_open("a name of 300 bytes", ROOT, up, __WASI_OFLAGS_CREAT, WRITE);
    try_open("a name that is not UTF-8", ROOT, "\xff\xfe/../..", 0, READ);
    try_open("backslashes", ROOT, "..\\..\\", 0, READ);
    try_open("the root as a folder, upwards", ROOT, "rw/../..", __WASI_OFLAGS_DIRECTORY, READ);
}

// Links, made by the guest

static void link_to(const char *name, const char *target, const char *then) {
    int error = __wasi_path_symlink(target, rw, "made");
    if (error) tell(name, error, "");
    else try_open(name, rw, then, 0, READ);
    __wasi_path_unlink_file(rw, "made");
}

static void links(void) {
    link_to("own link, absolute", to("/@/secret"), "made");
    link_to("own link, relative", to("../../../../../../../../@/secret"), "made");
    link_to("own link to a folder", to("../../../../../../../../@"), "made/secret");
    link_to("own link to the root", "/", to("made/@/secret"));
    link_to("own link up", "..", to("made/../../@/secret"));
    link_to("own link to proc", "/proc/self/root", to("made/@/secret"));
    link_to("own link to a descriptor", "/proc/self/fd/3", "made/../..");
    link_to("own link to itself", "made", "made");
    __wasi_path_symlink("made", rw, "first");
    link_to("own chain", to("../../../../../../../../@/secret"), "first");
    __wasi_path_unlink_file(rw, "first");

    int hard = __wasi_path_link(ROOT, __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW, "link-absolute", rw, "hard");
    tell("hard link of what a link leads to", hard, "made");
    tell("hard link of a file outside", __wasi_path_link(ROOT, 0, to("/@/secret"), rw, "hard"), "made");
    tell("hard link upwards", __wasi_path_link(rw, 0, to("../../../../../@/secret"), rw, "hard"), "made");
    tell("hard link into the outside", __wasi_path_link(rw, 0, "file", rw, to("../../../../../@/hard")), "made");
    tell("hard link across mounts", __wasi_path_link(ro, 0, "file", rw, "hard"), "made");
    tell("hard link of the root's file", __wasi_path_link(ROOT, 0, "inside", rw, "hard"), "made");
    tell("hard link in a read-only mount", __wasi_path_link(ro, 0, "file", ro, "hard"), "made");
    tell("hard link of a device", __wasi_path_link(ROOT, 0, "nodes/null", ROOT, "hard"), "made");

    char target[256];
    __wasi_size_t size;
    const char *leaks[] = {"proc/self/exe", "proc/self/cwd", "proc/self/root", "proc/1/cwd", "p/self/exe", "p/self/cwd",
                           "pp/self/root", "proc/self/fd/0", "dev/fd", "d/fd", "dev/stdout", "../..", "s/class/net/lo"};
    for (size_t i = 0; i < sizeof leaks / sizeof *leaks; i++) {
        snprintf(target, sizeof target, "read the link '%s'", leaks[i]);
        static uint8_t into[512];
        tell(target, __wasi_path_readlink(ROOT, leaks[i], into, sizeof into, &size), (char *)into);
    }
}

// Renames, times, and the rest of the calls with paths

static void changes(void) {
    tell("rename out", __wasi_path_rename(rw, "file", rw, to("../../../../../@/stolen")), "renamed");
    tell("rename to an absolute path", __wasi_path_rename(rw, "file", rw, to("/@/stolen")), "renamed");
    tell("rename in", __wasi_path_rename(rw, to("../../../../../@/secret"), rw, "stolen"), "renamed");
    tell("rename through a link", __wasi_path_rename(ROOT, "link-folder/secret", rw, "stolen"), "renamed");
    tell("rename to through a link", __wasi_path_rename(rw, "file", rw, "link-folder/stolen"), "renamed");
    tell("rename across mounts", __wasi_path_rename(rw, "file", ro, "stolen"), "renamed");
    tell("rename out of a read-only mount", __wasi_path_rename(ro, "file", rw, "stolen"), "renamed");
    tell("rename in a read-only mount", __wasi_path_rename(ro, "file", ro, "stolen"), "renamed");
    tell("rename a mount", __wasi_path_rename(ROOT, "ro", ROOT, "moved"), "renamed");
    tell("rename the root", __wasi_path_rename(ROOT, ".", rw, "root"), "renamed");

    const char *folders[] = {"new-folder", "ro/new-folder", "fixed/new-folder", "../new-folder", "/@/new-folder",
                             "link-folder/new-folder", "rw/link-folder/new-folder", "proc/new-folder", "p/new-folder",
                             "c/memory/new-folder", "c/unified/new-folder", "s/kernel/new-folder"};
    char name[128];
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(name, sizeof name, "make folder '%s'", folders[i]);
        tell(name, __wasi_path_create_directory(ROOT, to(folders[i])), "made");
    }
    const char *files[] = {"inside", "ro/file", "fixed/file", "../file", "/@/secret", "link-folder/secret",
                           "rw/link-folder/secret", "nodes/null", "masked-file"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(name, sizeof name, "unlink '%s'", files[i]);
        tell(name, __wasi_path_unlink_file(ROOT, to(files[i])), "gone");
        snprintf(name, sizeof name, "set the times of '%s'", files[i]);
        int flags = __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_MTIM;
        tell(name, __wasi_path_filestat_set_times(ROOT, 1, to(files[i]), 1000000000, 1000000000, flags), "set");
    }
    tell("set times through a link", __wasi_path_filestat_set_times(ROOT, 1, "link-absolute", 1, 1, 5), "set");
    __wasi_filestat_t state;
    tell("look at the outside", __wasi_path_filestat_get(ROOT, 1, to("/@/secret"), &state), "seen");
    tell("look upwards", __wasi_path_filestat_get(ROOT, 1, to("../../../@/secret"), &state), "seen");
    tell("look through a link", __wasi_path_filestat_get(ROOT, 1, "link-absolute", &state), "seen");
    tell("remove a mount", __wasi_path_remove_directory(ROOT, "ro"), "gone");
    tell("remove the outside", __wasi_path_remove_directory(ROOT, to("/@")), "gone");
    tell("link in a read-only root", __wasi_path_symlink("x", ROOT, "made"), "made");
    tell("link in a read-only mount", __wasi_path_symlink("x", ro, "made"), "made");
}

// A folder that is moved while it is open, and files of which more is asked than was opened

static void held(void) {
    int deep = -1, fd = -1;
    __wasi_path_create_directory(rw, "a");
    __wasi_path_create_directory(rw, "a/b");
    must_work("open a folder", open_at(rw, "a/b", __WASI_OFLAGS_DIRECTORY, READ, 0, &deep));
    must_work("move it", __wasi_path_rename(rw, "a/b", rw, "b"));
    try_open("up from a moved folder", deep, to("../../../../../../@/secret"), 0, READ);
    try_open("one up from a moved folder", deep, "..", 0, READ);
    tell("the parent's list through it", open_at(deep, "../", __WASI_OFLAGS_DIRECTORY, READ, 0, &fd), "open");
    must_work("remove it", __wasi_path_remove_directory(rw, "b"));
    try_open("up from a removed folder", deep, "..", 0, READ);
    __wasi_fd_close(deep);
    __wasi_path_remove_directory(rw, "a");

    __wasi_size_t size;
    __wasi_ciovec_t text = {(const uint8_t *)"x", 1};
    must_work("open a read-only file", open_at(ROOT, "ro/file", 0, READ, 0, &fd));
    tell("write to it", __wasi_fd_write(fd, &text, 1, &size), "written");
    tell("write into it", __wasi_fd_pwrite(fd, &text, 1, 0, &size), "written");
    tell("cut it", __wasi_fd_filestat_set_size(fd, 0), "cut");
    tell("allocate in it", __wasi_fd_allocate(fd, 0, 4096), "done");
    tell("set its times", __wasi_fd_filestat_set_times(fd, 1, 1, 5), "set");
    __wasi_fd_fdstat_set_flags(fd, __WASI_FDFLAGS_APPEND);
    tell("append to it", __wasi_fd_write(fd, &text, 1, &size), "written");
    __wasi_fd_fdstat_set_rights(fd, ALL, ALL);
    tell("write with more rights", __wasi_fd_write(fd, &text, 1, &size), "written");
    try_open("a file as a folder", fd, "..", 0, READ);
    __wasi_fd_close(fd);
    try_open("every right on a read-only file", ROOT, "ro/file", 0, ALL);
    try_open("a folder that is created and one", ROOT, "../x", __WASI_OFLAGS_CREAT | __WASI_OFLAGS_DIRECTORY, READ);
}

// Numbers of descriptors that were never given

static void numbers(int preopens) {
    uint8_t into[64];
    __wasi_iovec_t piece = {into, sizeof into};
    __wasi_ciovec_t text = {into, 1};
    __wasi_size_t size;
    __wasi_fdstat_t stat;
    __wasi_prestat_t prestat;
    __wasi_filestat_t state;
    __wasi_filesize_t offset;
    int known[] = {rw, ro, fixed};
    int bad = 0;
    for (int fd = preopens; fd < MOST_FDS; fd++) {
        int ours = 0;
        for (int i = 0; i < 3; i++) ours |= fd == known[i];
        if (ours) continue;
        bad += !__wasi_fd_fdstat_get(fd, &stat) || !__wasi_fd_read(fd, &piece, 1, &size) ||
               !__wasi_fd_write(fd, &text, 1, &size) || !__wasi_fd_prestat_get(fd, &prestat) ||
               !__wasi_fd_filestat_get(fd, &state) || !__wasi_fd_seek(fd, 0, 0, &offset) ||
               !__wasi_fd_readdir(fd, into, sizeof into, 0, &size) || !__wasi_fd_close(fd);
    }
    tell("descriptors 3 to 1100 that were not given", !bad, "one of them works");
    int odd[] = {1023, 1 << 20, 0x7fffffff, -1, -100, (int)0x80000000};
    char name[64];
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        snprintf(name, sizeof name, "path_open at descriptor %d", odd[i]);
        try_open(name, odd[i], "etc/passwd", 0, READ);
        snprintf(name, sizeof name, "fd_advise of %d", odd[i]);
        tell(name, __wasi_fd_advise(odd[i], 0, 0, 0), "done");
        snprintf(name, sizeof name, "fd_renumber from %d", odd[i]);
        tell(name, __wasi_fd_renumber(odd[i], rw), "done");
        snprintf(name, sizeof name, "fd_allocate of %d", odd[i]);
        tell(name, __wasi_fd_allocate(odd[i], 0, 1), "done");
    }
    for (int fd = 0; fd < 3; fd++) {
        snprintf(name, sizeof name, "path_open at descriptor %d", fd);
        try_open(name, fd, "etc/passwd", 0, READ);
        snprintf(name, sizeof name, "fd_filestat_set_size of %d", fd);
        tell(name, __wasi_fd_filestat_set_size(fd, 0), "done");
        snprintf(name, sizeof name, "fd_readdir of %d", fd);
        tell(name, __wasi_fd_readdir(fd, into, sizeof into, 0, &size), "done");
        snprintf(name, sizeof name, "sock_accept of %d", fd);
        tell(name, __wasi_sock_accept(fd, 0, &bad), "accepted");
    }
    tell("fd_read of the root", __wasi_fd_read(ROOT, &piece, 1, &size), "read");
    tell("fd_write of the root", __wasi_fd_write(ROOT, &text, 1, &size), "written");
    tell("fd_seek of the root", __wasi_fd_seek(ROOT, 0, 0, &offset), "done");
    tell("fd_allocate of the root", __wasi_fd_allocate(ROOT, 0, 1), "done");
    tell("sock_accept of the root", __wasi_sock_accept(ROOT, 0, &bad), "accepted");
    tell("sock_shutdown of the root", __wasi_sock_shutdown(ROOT, 3), "done");
    uint8_t whole[512];
    tell("a preopen's name into one byte", __wasi_fd_prestat_dir_name(ROOT, whole, 0), "given");
}

// What is left in the memory that was the host's before: arguments and environment

static void surroundings(int argc, char **argv) {
    int found = 0;
    for (char **entry = environ; *entry; entry++) {
        found += strstr(*entry, "HOST_SECRET") != 0 || strstr(*entry, "SAMPAN") != 0;
    }
    for (int i = 0; i < argc; i++) found += strstr(argv[i], "HOST_SECRET") != 0;
    tell("the host's environment", !found, "a variable");
    __wasi_filestat_t root, up;
    __wasi_fd_filestat_get(ROOT, &root);
    tell("another root behind '..'", __wasi_path_filestat_get(ROOT, 1, "..", &up), "seen");
}

// What may be done, or the refusals say nothing

static void allowed(void) {
    int fd = -1;
    must_work("read a file of the root", open_at(ROOT, "inside", 0, READ, 0, &fd));
    __wasi_fd_close(fd);
    must_work("read through a link that stays inside", open_at(ROOT, "link-inside", 0, READ, 0, &fd));
    __wasi_fd_close(fd);
    must_work("go up and down inside", open_at(ROOT, "rw/../inside", 0, READ, 0, &fd));
    __wasi_fd_close(fd);
    must_work("make a file", open_at(rw, "made", __WASI_OFLAGS_CREAT, WRITE, 0, &fd));
    __wasi_fd_close(fd);
    must_work("hard link in one folder", __wasi_path_link(rw, 0, "made", rw, "hard"));
    must_work("remove it", __wasi_path_unlink_file(rw, "hard") || __wasi_path_unlink_file(rw, "made"));
    must_work("write a set-id program of the volume", open_at(rw, "set-id", 0, WRITE, 0, &fd));
    __wasi_size_t size;
    __wasi_ciovec_t text = {(const uint8_t *)"#!/bin/sh\n", 10};
    must_work("change it", __wasi_fd_write(fd, &text, 1, &size));
    __wasi_fd_close(fd);
}

// What takes descriptors away, at the end

static void renumbered(void) {
    int fd = -1;
    open_at(ROOT, "inside", 0, READ, 0, &fd);
    int error = __wasi_fd_renumber(fd, ROOT);
    if (error) tell("a file in the place of the root", error, "");
    else try_open("a file in the place of the root", ROOT, "../etc/passwd", 0, READ);
    error = __wasi_fd_renumber(rw, ROOT);
    if (error) tell("a folder in the place of the root", error, "");
    else try_open("a folder in the place of the root", ROOT, "../inside", 0, READ);
    error = __wasi_fd_close(ROOT);
    if (error) tell("a closed root", error, "");
    else try_open("a closed root", ROOT, "rw/file", 0, READ);
}

// Addresses outside of its memory: each ends the guest, or is refused

static int far_away(const char *which) {
    uint8_t *end = (uint8_t *)(__builtin_wasm_memory_size(0) * 65536ul);
    __wasi_iovec_t huge = {(uint8_t *)4096, 0xffffffff}, beyond = {end - 1, 4096};
    __wasi_size_t size = 0;
    int fd = -1, error = 0;
    open_at(ROOT, "inside", 0, READ, 0, &fd);
    if (!strcmp(which, "huge-vector")) error = __wasi_fd_read(fd, &huge, 1, &size);
    else if (!strcmp(which, "vector-over-the-end")) error = __wasi_fd_pread(fd, &beyond, 1, 0, &size);
    else if (!strcmp(which, "most-vectors")) error = __wasi_fd_read(fd, &huge, 0xffffffff, &size);
    else if (!strcmp(which, "vectors-at-the-end")) error = __wasi_fd_read(fd, (__wasi_iovec_t *)(end - 4), 1, &size);
    else if (!strcmp(which, "random")) error = __wasi_random_get(end - 16, 4096);
    else if (!strcmp(which, "huge-random")) error = __wasi_random_get((uint8_t *)16, 0xfffffff0);
    else if (!strcmp(which, "arguments")) error = __wasi_args_get((uint8_t **)(end - 2), end - 2);
    else if (!strcmp(which, "folder")) error = __wasi_fd_readdir(ROOT, end - 8, 0xffff0000, 0, &size);
    else if (!strcmp(which, "result")) error = __wasi_fd_seek(fd, 0, 0, (__wasi_filesize_t *)(end - 4));
    else if (!strcmp(which, "link")) error = __wasi_path_readlink(ROOT, "link-inside", end - 2, 4096, &size);
    else if (!strcmp(which, "write-out")) error = __wasi_fd_write(1, (__wasi_ciovec_t *)&beyond, 1, &size);
    else if (!strcmp(which, "poll")) error = __wasi_poll_oneoff((void *)(end - 8), (void *)16, 1000000, &size);
    else return 2;
    tell(which, error, "done");
    return 0;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    outside = argv[1];
    if (argc > 2) return far_away(argv[2]);
    int preopens = ROOT;
    for (__wasi_prestat_t prestat; !__wasi_fd_prestat_get(preopens, &prestat);) preopens++;
    must_work("open a volume", open_at(ROOT, "rw", __WASI_OFLAGS_DIRECTORY, READ, 0, &rw));
    must_work("open a read-only volume", open_at(ROOT, "ro", __WASI_OFLAGS_DIRECTORY, READ, 0, &ro));
    must_work("open a read-only folder", open_at(ROOT, "fixed", __WASI_OFLAGS_DIRECTORY, READ, 0, &fixed));
    surroundings(argc, argv);
    allowed();
    names();
    links();
    changes();
    held();
    numbers(preopens);
    renumbered();
    printf("end\n");
    fflush(stdout);
    return 0;
}

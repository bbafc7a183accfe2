// What a container must be like, checked from inside it; prints TAP. The host says what to expect:
//
//   --env NAME=value    this variable, once; together with EXPECTED_ARGS, if set, there are no others
//   --root ro|rw        the root filesystem           --ro PATH, --rw PATH   a file or folder, with what it allows
//   --tmpfs PATH        a folder, empty and writable  --masked PATH          nothing to be read there
//   --denied PATH       there, but not to be opened   --file PATH=text       a file with just this text
//   --link PATH         a link out of the root, which must lead nowhere on the host
//   --preopen NAME      granted folders, in order; just `/` when there is none
//   --stdin TEXT        what comes on standard input
//   --nofile N          the most descriptors          --exit N               the code when all is well, else 1
//   --stay              report, then sleep until a signal ends it
//
// EXPECTED_ARGS holds all arguments behind the program's name, each followed by a newline.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <wasi/api.h>

enum { MOST_FDS = 4096, FIRST_PREOPEN = 3 };
extern char **environ;
static int checks, failures;

static void check(int good, const char *what, const char *detail) {
    checks++;
    failures += !good;
    printf("%s %d - %s%s%s\n", good ? "ok" : "not ok", checks, what, *detail ? " " : "", detail);
}

// An engine may have no word for the kernel's EROFS and EMFILE: wasmtime says EIO. The host looks at what was written.
static int is_refusal(int error) {
    return error == EROFS || error == EACCES || error == EPERM || error == ENOTCAPABLE || error == EIO;
}

static const char *below(const char *folder, const char *name) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", strcmp(folder, "/") ? folder : "", name);
    return path;
}

// Arguments and environment

static void check_args(char **argv) {
    const char *expected = getenv("EXPECTED_ARGS");
    if (!expected) return;
    int same = 1;
    for (char **arg = argv + 1; *arg; arg++) {
        size_t size = strlen(*arg);
        same = same && !strncmp(expected, *arg, size) && expected[size] == '\n';
        if (same) expected += size + 1;
    }
    check(same && !*expected, "arguments are those of the spec, in order", "");
}

static void check_env(char **argv, int argc) {
    int expected = getenv("EXPECTED_ARGS") != NULL, found = 0;
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--env")) continue;
        int times = 0;
        expected++;
        for (char **entry = environ; *entry; entry++) times += !strcmp(*entry, argv[i + 1]);
        check(times == 1, "the environment has once:", argv[i + 1]);
    }
    for (char **entry = environ; *entry; entry++) found++;
    check(found == expected, "the environment has nothing else", "");
}

// Files

static int write_file(const char *path) {
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL, 0666), error = errno;
    if (file < 0) return error;
    int good = write(file, "x", 1) == 1;
    close(file);
    return !good || unlink(path) ? EFAULT : 0;
}

static int open_to_write(const char *path) {
    int file = open(path, O_WRONLY);
    if (file < 0) return errno;
    close(file);
    return 0;
}

static int is_folder(const char *path) {
    struct stat status;
    return !stat(path, &status) && S_ISDIR(status.st_mode);
}

static int try_to_write(const char *path) {
    return is_folder(path) ? write_file(below(path, "written-by-runtimetest")) : open_to_write(path);
}

static void check_read_only(const char *path) {
    struct stat status;
    check(!stat(path, &status), "is there:", path);
    check(is_refusal(try_to_write(path)), "cannot be written to:", path);
    if (!is_folder(path)) return;
    int error = mkdir(below(path, "made-by-runtimetest"), 0777) ? errno : 0;
    check(is_refusal(error), "no folder can be made in:", path);
}

static void check_writable(const char *path) { check(try_to_write(path) == 0, "can be written to:", path); }

static int entries(const char *path) {  // -1 when it cannot be listed
    DIR *folder = opendir(path);
    if (!folder) return -1;
    int count = 0;
    for (struct dirent *entry; (entry = readdir(folder));)
        count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    closedir(folder);
    return count;
}

static void check_tmpfs(const char *path) {
    check(entries(path) == 0, "is an empty folder:", path);
    check_writable(path);
}

static long readable_bytes(const char *path) {  // -1 when it cannot be opened
    char bytes[4096];
    int file = open(path, O_RDONLY);
    if (file < 0) return -1;
    long size = read(file, bytes, sizeof bytes);
    close(file);
    return size;
}

static void check_masked(const char *path) {
    if (is_folder(path))
        check(entries(path) <= 0, "shows nothing of the folder:", path);
    else
        check(readable_bytes(path) <= 0, "shows nothing of the file:", path);
}

static void check_denied(const char *path) {
    int file = open(path, O_RDONLY);
    check(file < 0 && errno == EACCES, "the user may not open:", path);
    if (file >= 0) close(file);
}

static void check_file(const char *expected) {
    static char path[4096], text[4096];
    const char *equals = strchr(expected, '=');
    snprintf(path, sizeof path, "%.*s", (int)(equals - expected), expected);
    int file = open(path, O_RDONLY);
    ssize_t size = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0) close(file);
    check(size == (ssize_t)strlen(equals + 1) && !memcmp(text, equals + 1, size), "has its text:", path);
}

// The host

static void check_kernel_files(void) {
    const char *folders[] = {"/proc", "/sys", "/dev"};
    const char *files[] = {"/proc/self/mem", "/proc/self/environ", "/proc/1/root", "/proc/mounts", "/proc/self/fd/0",
                           "/sys/kernel",    "/sys/fs/cgroup",     "/dev/null",    "/dev/mem",     "/dev/kmsg"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        check(entries(folders[i]) <= 0, "shows nothing of the kernel:", folders[i]);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        check(open(files[i], O_RDONLY) < 0, "cannot be opened:", files[i]);
}

static int raw_open(const char *path) {
    __wasi_fd_t fd;
    __wasi_errno_t error = __wasi_path_open(FIRST_PREOPEN, __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW, path, 0,
                                            __WASI_RIGHTS_FD_READ, 0, 0, &fd);
    if (!error) close(fd);
    return error;
}

static void check_escapes(int writable) {
    const char *ways[] = {"..", "../..", "../etc/passwd", "./../../../../etc/passwd", "/", "/etc/passwd", "/proc/self/root"};
    const char *targets[] = {"/", "/proc/self/root", "../../../../../../..", "../../../../proc/1/root"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        check(raw_open(ways[i]) != 0, "does not lead out of a granted folder:", ways[i]);
    for (size_t i = 0; writable && i < sizeof targets / sizeof *targets; i++) {
        const char *name = "link-of-runtimetest";
        int made = !__wasi_path_symlink(targets[i], FIRST_PREOPEN, name);
        check(!made || raw_open(name) != 0, "a new link leads nowhere:", targets[i]);
        if (made) check(!__wasi_path_unlink_file(FIRST_PREOPEN, name), "the new link can be removed", "");
    }
}

static void check_link(const char *path) {
    struct stat status;
    check(!lstat(path, &status) && S_ISLNK(status.st_mode), "is a link:", path);
    check(open(path, O_RDONLY) < 0, "is a link that leads nowhere:", path);
}

// Descriptors

static int check_preopens(char **argv, int argc) {  // the first descriptor that must not be there
    uint32_t fd = FIRST_PREOPEN;
    int named = 0;
    for (int i = 1; i + 1 < argc || !named; i++) {
        int last = i + 1 >= argc;
        if (!last && strcmp(argv[i], "--preopen")) continue;
        const char *expected = last ? "/" : argv[i + 1];
        char name[4096] = "";
        __wasi_prestat_t status;
        int there = !__wasi_fd_prestat_get(fd, &status) && status.u.dir.pr_name_len < sizeof name &&
                    !__wasi_fd_prestat_dir_name(fd, (uint8_t *)name, status.u.dir.pr_name_len);
        check(there && !strcmp(name, expected), "this folder is granted:", expected);
        fd++;
        named++;
        if (last) break;
    }
    return fd;
}

static void check_descriptors(int end) {
    __wasi_fdstat_t status;
    int others = 0;
    for (int fd = 0; fd < FIRST_PREOPEN; fd++) check(!__wasi_fd_fdstat_get(fd, &status), "a standard descriptor is open", "");
    for (int fd = end; fd < MOST_FDS; fd++) others += __wasi_fd_fdstat_get(fd, &status) != __WASI_ERRNO_BADF;
    check(others == 0, "no descriptor is open that was not granted", "");
}

static void check_nofile(int most) {
    static int opened[MOST_FDS];
    int count = 0;
    while (count < MOST_FDS && (opened[count] = open("/", O_RDONLY)) >= 0) count++;
    int error = errno;
    for (int i = 0; i < count; i++) close(opened[i]);
    check(count < most && (error == EMFILE || error == ENFILE || error == EIO), "descriptors are limited", strerror(error));
}

static void check_stdin(const char *expected) {
    char text[4096] = "";
    size_t size = 0;
    for (ssize_t part; size < sizeof text - 1 && (part = read(0, text + size, sizeof text - 1 - size)) > 0;) size += part;
    check(!strcmp(text, expected), "standard input has what was sent", "");
}

// Time and chance

static void check_clocks(void) {
    struct timespec before, after, pause = {0, 1000000};
    check(time(NULL) > 1600000000, "the clock has a date", "");
    clock_gettime(CLOCK_MONOTONIC, &before);
    check(nanosleep(&pause, NULL) == 0, "a program can sleep", "");
    clock_gettime(CLOCK_MONOTONIC, &after);
    long long passed = (after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec;
    check(passed >= pause.tv_nsec, "time passes", "");
}

static void check_random(void) {
    uint8_t one[32] = {0}, two[32] = {0};
    int good = !__wasi_random_get(one, sizeof one) && !__wasi_random_get(two, sizeof two);
    check(good && memcmp(one, two, sizeof one), "random numbers differ", "");
}

static const struct {
    const char *option;
    void (*run)(const char *path);
} path_checks[] = {
    {"--ro", check_read_only}, {"--rw", check_writable},   {"--tmpfs", check_tmpfs}, {"--masked", check_masked},
    {"--file", check_file},    {"--denied", check_denied}, {"--link", check_link},   {"--stdin", check_stdin},
};
static const char *other_options[] = {"--env", "--root", "--preopen", "--nofile", "--exit"};

static int is_known(const char *option) {
    for (size_t i = 0; i < sizeof path_checks / sizeof *path_checks; i++)
        if (!strcmp(option, path_checks[i].option)) return 1;
    for (size_t i = 0; i < sizeof other_options / sizeof *other_options; i++)
        if (!strcmp(option, other_options[i])) return 1;
    return 0;
}

int main(int argc, char **argv) {
    int code = 0, stay = 0, writable = 0;
    check_args(argv);
    check_env(argv, argc);
    check_descriptors(check_preopens(argv, argc));
    for (int i = 1; i < argc; i++) {
        const char *option = argv[i], *value = argv[i + 1];
        if (!strcmp(option, "--stay")) {
            stay = 1;
            continue;
        }
        if (!value || !is_known(option)) {
            printf("Bail out! what is %s?\n", option);
            return 2;
        }
        i++;
        for (size_t j = 0; j < sizeof path_checks / sizeof *path_checks; j++)
            if (!strcmp(option, path_checks[j].option)) path_checks[j].run(value);
        if (!strcmp(option, "--root")) {
            writable = !strcmp(value, "rw");
            writable ? check_writable("/") : check_read_only("/");
        }
        if (!strcmp(option, "--nofile")) check_nofile(atoi(value));
        if (!strcmp(option, "--exit")) code = atoi(value);
    }
    check_kernel_files();
    check_escapes(writable);
    check_clocks();
    check_random();
    check(fprintf(stderr, "runtimetest on standard error\n") > 0, "standard error can be written to", "");
    printf("1..%d\n", checks);
    fflush(stdout);
    while (stay) sleep(3600);
    return failures ? 1 : code;
}

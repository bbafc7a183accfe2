// One guest, many small commands: the first argument says what to do. `help` lists them.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wasi/api.h>

extern char **environ;

static int fail(const char *what) {
    fprintf(stderr, "toolbox: %s: %s\n", what, strerror(errno));
    return 1;
}

// The status as it is, beyond what C's exit allows: `exit 256`, `exit -1`.
static int run_exit(char **args) { __wasi_proc_exit((uint32_t)atoll(args[0])); }

static int run_echo(char **args) {
    for (; *args; args++) printf("%s%s", *args, args[1] ? " " : "");
    putchar('\n');
    return 0;
}

static int copy(int from, int to) {
    static char block[65536];
    for (ssize_t size; (size = read(from, block, sizeof block)) != 0;) {
        if (size < 0) return fail("read");
        for (ssize_t done = 0, part; done < size; done += part)
            if ((part = write(to, block + done, size - done)) < 0) return fail("write");
    }
    return 0;
}

static int run_cat(char **args) {
    int file = open(args[0], O_RDONLY);
    return file < 0 ? fail(args[0]) : copy(file, 1);
}

static int run_stdin(char **args) { return copy(0, 1); }

static int run_write(char **args) {
    int file = open(args[0], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (file < 0) return fail(args[0]);
    size_t size = strlen(args[1]);
    return write(file, args[1], size) == (ssize_t)size && close(file) == 0 ? 0 : fail("write");
}

static int run_rm(char **args) { return unlink(args[0]) ? fail(args[0]) : 0; }

static int by_name(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

static int run_ls(char **args) {
    const char *path = args[0] ? args[0] : "/";
    DIR *folder = opendir(path);
    if (!folder) return fail(path);
    static char *names[4096];
    size_t count = 0;
    for (struct dirent *entry; count < 4096 && (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) names[count++] = strdup(entry->d_name);
    qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++) puts(names[i]);
    return 0;
}

static int run_sleep(char **args) {
    double seconds = atof(args[0]);
    struct timespec time = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    return nanosleep(&time, NULL) ? fail("sleep") : 0;
}

static int run_loop(char **args) {
    for (volatile uint64_t turns = 0;; turns++) {
    }
}

static volatile int depth;

__attribute__((noinline)) static int deeper(void) {
    depth++;
    return depth < 0 ? 0 : deeper() + depth;
}

static int run_recurse(char **args) { return deeper(); }

static int run_trap(char **args) { __builtin_trap(); }

static int run_tick(char **args) {
    for (int i = 0; !args[0] || i < atoi(args[0]); i++) {
        printf("tick %d\n", i);
        fflush(stdout);
        usleep(args[0] && args[1] ? atoi(args[1]) * 1000 : 1000000);
    }
    return 0;
}

// Grows memory a MiB at a time, writing to each page, up to the given size or until it is refused.
static int run_grow(char **args) {
    long limit = args[0] ? atol(args[0]) : 4096, grown = 0;
    for (size_t old; grown < limit && (old = __builtin_wasm_memory_grow(0, 16)) != (size_t)-1; grown++)
        for (size_t page = old; page < old + 16; page++) *(volatile char *)(page << 16) = 1;
    printf("grown by %ld MiB\n", grown);
    return grown == limit ? 0 : 1;
}

static int run_env(char **args) {
    for (char **entry = environ; *entry; entry++) puts(*entry);
    return 0;
}

static int run_args(char **args) {
    for (; *args; args++) puts(*args);
    return 0;
}

static int run_flood(char **args) {
    static char line[4096];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    for (long long left = atoll(args[0]), part; left > 0; left -= part) {
        part = write(1, line, left < (long long)sizeof line ? left : sizeof line);
        if (part < 0) return fail("write");
    }
    return 0;
}

static int run_fds(char **args) {
    int count = 0;
    while (open(args[0] ? args[0] : "/", O_RDONLY) >= 0 && count < 1000000) count++;
    printf("%d descriptors, then: %s\n", count, strerror(errno));
    return 0;
}

static int run_stderr(char **args) {
    fprintf(stderr, "%s\n", args[0]);
    return 0;
}

static int run_help(char **args);

static const struct {
    const char *name, *form;
    int needs;
    int (*run)(char **args);
} commands[] = {
    {"args", "[WORD...]  print the words, one a line", 0, run_args},
    {"cat", "FILE  print a file", 1, run_cat},
    {"echo", "[WORD...]  print the words on one line", 0, run_echo},
    {"env", "print the environment", 0, run_env},
    {"exit", "N  end with this status", 1, run_exit},
    {"fds", "[PATH]  open a path until it is refused", 0, run_fds},
    {"flood", "N  print N bytes", 1, run_flood},
    {"grow", "[MIB]  grow memory until it is refused", 0, run_grow},
    {"help", "this list", 0, run_help},
    {"loop", "run for ever", 0, run_loop},
    {"ls", "[FOLDER]  list a folder", 0, run_ls},
    {"recurse", "run out of stack", 0, run_recurse},
    {"rm", "FILE  remove a file", 1, run_rm},
    {"sleep", "SECONDS", 1, run_sleep},
    {"stderr", "TEXT  print a line to stderr", 1, run_stderr},
    {"stdin", "copy stdin to stdout", 0, run_stdin},
    {"tick", "[COUNT [MS]]  print a line every so often", 0, run_tick},
    {"trap", "run an unreachable instruction", 0, run_trap},
    {"write", "FILE TEXT  write a file", 2, run_write},
};
enum { COUNT = sizeof commands / sizeof *commands };

static int run_help(char **args) {
    for (int i = 0; i < COUNT; i++) printf("%s %s\n", commands[i].name, commands[i].form);
    return 0;
}

int main(int argc, char **argv) {
    for (int i = 0; argc > 1 && i < COUNT; i++) {
        if (strcmp(argv[1], commands[i].name)) continue;
        if (argc - 2 < commands[i].needs) break;
        return commands[i].run(argv + 2);
    }
    fprintf(stderr, "toolbox: unknown command or missing argument; try help\n");
    return 2;
}

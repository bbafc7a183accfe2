// The commands that Kubernetes' suite for CRI runtimes has containers run, as one program: its own name says which.
// A shell is among them, of `;`, `&&`, `||` and `while`, whose commands are those of this program.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define main run_server
#include "../../../../examples/02-http-server/http-server.c"
#undef main

enum { MOST_WORDS = 512 };

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    return 1;
}

static int run_true(char **args) { return 0; }

static int run_false(char **args) { return 1; }

static int run_echo(char **args) {
    bool ends = !args[0] || strcmp(args[0], "-n");
    for (args += !ends; *args; args++) printf("%s%s", *args, args[1] ? " " : "");
    if (ends) putchar('\n');
    return 0;
}

static int run_cat(char **args) {
    for (; *args; args++) {
        FILE *file = fopen(*args, "r");
        if (!file) return fail(*args);
        for (int letter; (letter = getc(file)) != EOF;) putchar(letter);
        fclose(file);
    }
    return 0;
}

static int run_ls(char **args) {
    while (args[0] && args[0][0] == '-') args++;  // -A: one of those that are to be seen is all there is
    const char *path = args[0] ? args[0] : ".";
    DIR *folder = opendir(path);
    if (!folder) return fail(path);
    for (struct dirent *entry; (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) puts(entry->d_name);
    closedir(folder);
    return 0;
}

static int run_touch(char **args) {
    for (int file; *args; args++, close(file))
        if ((file = open(*args, O_WRONLY | O_CREAT, 0644)) < 0) return fail(*args);
    return 0;
}

static int run_hostname(char **args) { return run_cat((char *[]){"/etc/hostname", NULL}); }

static int run_sleep(char **args) {
    for (int left = args[0] ? atoi(args[0]) : 0; left > 0; left--) sleep(1);
    return 0;
}

static int run_top(char **args) {
    for (;;) sleep(1);
}

// Copies zeros, of which a guest needs no device, to nowhere, by blocks of the size bs=NM.
static int run_dd(char **args) {
    size_t size = 512;
    for (; *args; args++)
        if (!strncmp(*args, "bs=", 3)) size = (size_t)atol(*args + 3) << 20;
    char *block = malloc(size);
    if (!block) return fail("dd");
    for (;;)
        for (size_t i = 0; i < size; i += 512) *(volatile char *)(block + i) = 0;
}

static int run_httpd(char **args) {
    printf("httpd: ");
    return run_server();
}

static int run_shell(char **args);

static const struct {
    const char *name;
    int (*run)(char **args);
} applets[] = {
    {"cat", run_cat},
    {"dd", run_dd},
    {"echo", run_echo},
    {"false", run_false},
    {"hostname", run_hostname},
    {"httpd", run_httpd},
    {"ls", run_ls},
    {"nginx", run_httpd},
    {"pgrep", run_false},  // a guest sees no processes
    {"sh", run_shell},
    {"sleep", run_sleep},
    {"top", run_top},
    {"touch", run_touch},
    {"true", run_true},
};

static int run(char **args) {
    const char *slash = strrchr(args[0], '/'), *name = slash ? slash + 1 : args[0];
    for (size_t i = 0; i < sizeof applets / sizeof *applets; i++) {
        if (strcmp(name, applets[i].name)) continue;
        int status = applets[i].run(args + 1);
        fflush(stdout);
        return status;
    }
    fprintf(stderr, "%s: not found\n", args[0]);
    return 127;
}

// The words of a script, the operators among them; `at` is the next. What is not executed is passed over.
static char *words[MOST_WORDS + 8];
static int at;

static int run_list(bool execute);

static bool is(const char *word) { return words[at] && !strcmp(words[at], word); }

static void pass(const char *word) {
    if (!is(word)) fprintf(stderr, "sh: %s is missing\n", word), exit(2);
    at++;
}

static int run_while(bool execute) {
    pass("while");
    int start = at, status = 0;
    for (bool again = true; again;) {
        at = start;
        again = run_list(execute) == 0 && execute;
        pass("do");
        int last = run_list(again);
        pass("done");
        if (again) status = last;
    }
    return status;
}

static int run_command(bool execute) {
    if (is("while")) return run_while(execute);
    char *args[MOST_WORDS + 1];
    int count = 0;
    while (words[at] && !is(";") && !is("&&") && !is("||")) args[count++] = words[at++];
    args[count] = NULL;
    return execute && count ? run(args) : 0;
}

static int run_chain(bool execute) {
    int status = run_command(execute);
    while (is("&&") || is("||")) {
        bool wanted = is("&&") == (status == 0);
        at++;
        int next = run_command(execute && wanted);
        if (wanted) status = next;
    }
    return status;
}

static int run_list(bool execute) {
    int status = 0;
    while (words[at] && !is("do") && !is("done")) {
        status = run_chain(execute);
        if (is(";")) at++;
    }
    return status;
}

static int run_script(char *script) {
    static char text[8192];
    size_t size = 0;
    for (; *script && size < sizeof text - 2; script++) {  // operators become words of their own
        if (*script == ';') text[size++] = ' ';
        text[size++] = *script;
        if (*script == ';') text[size++] = ' ';
    }
    text[size] = '\0';
    int count = 0;
    for (char *word = strtok(text, " \n"); word && count < MOST_WORDS; word = strtok(NULL, " \n")) words[count++] = word;
    words[count] = NULL;
    at = 0;
    return run_list(true);
}

static int run_shell(char **args) {
    if (args[0] && !strcmp(args[0], "-c") && args[1]) return run_script(args[1]);
    static char line[4096];
    int status = 0;
    while (fgets(line, sizeof line, stdin)) status = run_script(line);
    return status;
}

int main(int argc, char **argv) { return run(argv); }

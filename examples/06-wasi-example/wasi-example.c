// Uses one of everything that WASI gives: random numbers, environment, arguments, and a file's round trip.
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static int write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    return file && fputs(text, file) >= 0 && fclose(file) == 0;
}

static int print_file(const char *path) {
    char text[64] = "";
    FILE *file = fopen(path, "r");
    if (!file || !fgets(text, sizeof text, file)) return 0;
    printf("File content is %s\n", text);
    return fclose(file) == 0;
}

int main(int argc, char **argv) {
    int32_t number;
    uint8_t bytes[128];
    if (getentropy(&number, sizeof number) || getentropy(bytes, sizeof bytes)) return 1;
    printf("Random number: %d\n", number);
    printf("Random bytes: [%d", bytes[0]);
    for (size_t i = 1; i < sizeof bytes; i++) printf(", %d", bytes[i]);
    puts("]\nPrinted from wasi: This is from a main function\nThis is from a main function");
    puts("The env vars are as follows.");
    for (char **entry = environ; *entry; entry++) {
        int name = strcspn(*entry, "=");
        printf("%.*s: %s\n", name, *entry, *entry + name + 1);
    }
    puts("The args are as follows.");
    for (int i = 0; i < argc; i++) puts(argv[i]);
    if (!write_file("tmp.txt", "This is in a file") || !print_file("tmp.txt") || unlink("tmp.txt")) {
        perror("tmp.txt");
        return 1;
    }
    return 0;
}

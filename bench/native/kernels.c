// Six small programs that only compute; prints each one's name and the milliseconds that its rounds took.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static volatile uint32_t sink;

static uint32_t fibonacci(uint32_t n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

static void run_fib(void) { sink = fibonacci(32); }

static uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void run_sha256(void) { // the compression function of FIPS 180-4 over a block that changes
    static uint32_t k[64], w[64], h[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    if (!k[0])
        for (uint32_t i = 0; i < 64; i++) k[i] = (i + 1) * 2654435761u;
    for (uint32_t block = 0; block < 40000; block++) {
        for (uint32_t i = 0; i < 16; i++) w[i] = block * 31 + i;
        for (int i = 16; i < 64; i++)
            w[i] = w[i - 16] + w[i - 7] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) +
                   (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
        uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], x = h[7];
        for (int i = 0; i < 64; i++) {
            uint32_t one = x + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + k[i] + w[i];
            uint32_t two = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
            x = g, g = f, f = e, e = d + one, d = c, c = b, b = a, a = one + two;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e, h[5] += f, h[6] += g, h[7] += x;
    }
    sink = h[0];
}

static void run_sieve(void) {
    enum { LIMIT = 4000000 };
    static uint8_t composite[LIMIT];
    memset(composite, 0, LIMIT);
    uint32_t found = 0;
    for (uint32_t i = 2; i < LIMIT; i++) {
        if (composite[i]) continue;
        found++;
        for (uint64_t j = (uint64_t)i * i; j < LIMIT; j += i) composite[j] = 1;
    }
    sink = found;
}

static void run_matmul(void) {
    enum { SIZE = 220 };
    static double a[SIZE][SIZE], b[SIZE][SIZE], c[SIZE][SIZE];
    for (int i = 0; i < SIZE; i++)
        for (int j = 0; j < SIZE; j++) a[i][j] = i + j, b[i][j] = i - j, c[i][j] = 0;
    for (int i = 0; i < SIZE; i++)
        for (int k = 0; k < SIZE; k++)
            for (int j = 0; j < SIZE; j++) c[i][j] += a[i][k] * b[k][j];
    sink = (uint32_t)c[7][9];
}

static int compare(const void *a, const void *b) {
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static void run_qsort(void) {
    enum { COUNT = 300000 };
    static uint32_t values[COUNT];
    uint32_t seed = 1;
    for (int i = 0; i < COUNT; i++) values[i] = seed = seed * 1664525 + 1013904223;
    qsort(values, COUNT, sizeof values[0], compare);
    sink = values[COUNT / 2];
}

static void run_nbody(void) {
    static double p[5][3], v[5][3], mass[5] = {39.5, 0.04, 0.01, 0.002, 0.002};
    for (int i = 0; i < 5; i++)
        for (int d = 0; d < 3; d++) p[i][d] = i * 5 + d, v[i][d] = d - i * 0.1;
    for (int step = 0; step < 150000; step++) {
        for (int i = 0; i < 5; i++)
            for (int j = i + 1; j < 5; j++) {
                double apart[3], square = 0;
                for (int d = 0; d < 3; d++) apart[d] = p[i][d] - p[j][d], square += apart[d] * apart[d];
                double strength = 0.001 / (square * sqrt(square));
                for (int d = 0; d < 3; d++) {
                    v[i][d] -= apart[d] * mass[j] * strength;
                    v[j][d] += apart[d] * mass[i] * strength;
                }
            }
        for (int i = 0; i < 5; i++)
            for (int d = 0; d < 3; d++) p[i][d] += 0.001 * v[i][d];
    }
    sink = (uint32_t)(int32_t)p[0][0];
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

int main(void) {
    struct { const char *name; void (*run)(void); } kernels[] = {
        {"fib", run_fib}, {"sha256", run_sha256}, {"sieve", run_sieve},
        {"matmul", run_matmul}, {"qsort", run_qsort}, {"nbody", run_nbody},
    };
    for (unsigned i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
        kernels[i].run();
        double best = 1e9;
        for (int round = 0; round < 3; round++) {
            double begin = now();
            kernels[i].run();
            double taken = now() - begin;
            if (taken < best) best = taken;
        }
        printf("%s %.3f\n", kernels[i].name, best);
    }
    return 0;
}

/* Test vectors that arm_vectors.py wrote on another machine, memory to run them in, and comparing. */
#ifndef SUBBYTE_VECTORS_H
#define SUBBYTE_VECTORS_H
#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_SIZES = 7, MAX_ARRAYS = 8, N_ARENAS = 14, ARENA_BYTES = 4 << 20 };

/* As in the file: followed by its arrays, each padded to 8 bytes. Which arrays and sizes a slot has is said where it is replayed. */
struct vector {
    char slot[16], format[16];
    int64_t size[MAX_SIZES];
    double number;
    int64_t bytes[MAX_ARRAYS];
};

static const struct vector *vector;        /* the one being replayed, on the table `isa` */
static const void *array[MAX_ARRAYS];
static const char *isa;
static int n_failures;

/* ---- memory whose end is the end of what may be touched ---- */

static uint8_t *arenas[N_ARENAS];
static int n_arenas_used;
static int at_odd_address;                 /* else at the end of the arena */

static void make_arenas(void)
{
    for (int i = 0; i < N_ARENAS; i++) {
        arenas[i] = mmap(NULL, ARENA_BYTES + 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (arenas[i] == MAP_FAILED || mprotect(arenas[i] + ARENA_BYTES, 65536, PROT_NONE) != 0)
            exit(2);
    }
}

/* Aligned to `alignment`, which for 1 may mean an odd address; filled with 0xff, which are NaNs. */
static void *space(int64_t bytes, int64_t alignment)
{
    if (n_arenas_used == N_ARENAS || bytes > ARENA_BYTES - 64)
        exit(2);
    uint8_t *arena = arenas[n_arenas_used++], *start = arena + 1;
    if (alignment > 1 || !at_odd_address)
        start = (uint8_t *)((uintptr_t)(arena + ARENA_BYTES - bytes) & ~(uintptr_t)(alignment - 1));
    return memset(start, 0xff, bytes);
}

/* A copy of array i: bytes of a file may lie anywhere, the others at a multiple of their elements' size. */
static void *input(int i, int64_t alignment)
{
    return memcpy(space(vector->bytes[i], alignment), array[i], vector->bytes[i]);
}

/* ---- comparing ---- */

static void fail(const char *what, int64_t i, double found, double expected)
{
    n_failures++;
    printf("%s %s %s %s, sizes", isa, vector->slot, vector->format, what);
    for (int s = 0; s < MAX_SIZES; s++)
        printf(" %lld", (long long)vector->size[s]);
    printf("%s: element %lld is %.9g, not %.9g\n", at_odd_address ? ", odd address" : "", (long long)i, found, expected);
}

static void compare_bytes(const char *what, const void *found, int i)
{
    const uint8_t *a = found, *b = array[i];
    for (int64_t j = 0; j < vector->bytes[i]; j++)
        if (a[j] != b[j]) {
            fail(what, j, a[j], b[j]);
            return;
        }
}

/* The same bits, or both NaN. */
static void compare_floats(const char *what, const float *found, int i)
{
    const float *expected = array[i];
    for (int64_t j = 0; j < vector->bytes[i] / 4; j++)
        if (memcmp(found + j, expected + j, 4) != 0 && !(isnan(found[j]) && isnan(expected[j]))) {
            fail(what, j, found[j], expected[j]);
            return;
        }
}

static int close_to(double found, double expected, double bound)
{
    return fabs(found - expected) <= bound || found == expected || (isnan(found) && isnan(expected));
}

/* Two ways to the same numbers: the same bits, or both NaN. */
static void compare_same(const char *what, const float *found, const float *expected, int64_t n)
{
    for (int64_t j = 0; j < n; j++)
        if (memcmp(&found[j], &expected[j], 4) != 0 && !(isnan(found[j]) && isnan(expected[j]))) {
            fail(what, j, found[j], expected[j]);
            return;
        }
}

/* found[j] within array[i + 1][j] of array[i][j], for elements from..from + n - 1; all three are doubles in the file. */
static void compare_close(const char *what, const float *found, int64_t from, int64_t n, int i)
{
    const double *expected = (const double *)array[i] + from, *bound = (const double *)array[i + 1] + from;
    for (int64_t j = 0; j < n; j++)
        if (!close_to(found[j], expected[j], bound[j])) {
            fail(what, from + j, found[j], expected[j]);
            return;
        }
}

#endif

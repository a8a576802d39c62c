/* What the machine can do at this moment, for benchmarks: every figure stands beside the limit that was measured next to it. */
#ifndef SUBBYTE_BOUNDS_H
#define SUBBYTE_BOUNDS_H
#include "kernels.h"

/* Each runs n_threads threads for some `seconds` and sets *rate to what they did in a second, all together.
 * Returns 0, or an errno as pool_run does. */

/* Multiply-adds a second of one of the peak loops in struct kernels. */
int measure_peak(int64_t (*peak)(int64_t), int n_threads, double seconds, double *rate);
/* Bytes a second read from memory: each thread reads a part of its own from end to end, once at least. To measure memory and not
 * caches, take several times the last-level cache. */
int measure_read(const uint8_t *memory, int64_t n_bytes, int n_threads, double seconds, double *rate);

#endif

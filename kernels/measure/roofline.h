/* The roofline of the machine at this moment, for benchmarks: peak multiply-adds and peak bandwidth, measured beside each figure. */
#ifndef SUBBYTE_ROOFLINE_H
#define SUBBYTE_ROOFLINE_H
#include "cpu/kernel_table.h"

/* Each runs n_threads threads for some `seconds` and sets *rate to what they do in a second, all together.
 * Returns what pool_run does; *rate means nothing unless that is 0. */

/* Multiply-adds a second of one of the peak loops in struct kernels. */
int measure_peak(int64_t (*peak)(int64_t), int n_threads, double seconds, double *rate);
/* Bytes a second read from memory, all of it once at least. To measure memory and not caches, take several times the last-level
 * cache. memory begins at a multiple of 8. */
int measure_read(const uint8_t *memory, int64_t n_bytes, int n_threads, double seconds, double *rate);

#endif

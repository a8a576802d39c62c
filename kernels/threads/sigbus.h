/* What happens when a file is cut short, or its disk fails, while what is mapped from it is read: SIGBUS, survived. */
#ifndef SUBBYTE_SIGBUS_H
#define SUBBYTE_SIGBUS_H
#include <stdint.h>

/* Mapped bytes that are read as a whole: a matrix, a file. */
struct address_range {
    uintptr_t start, end;
};

struct guarded_map;

/* From now on every thread of the process survives SIGBUS at an address of a mapped file: from the missing page to the end of the
 * map it reads as zeros from then on, and is unreadable. Any other SIGBUS does what it did before. NULL: no memory. The handler
 * comes with the first call. */
struct guarded_map *sigbus_guard(struct address_range map);

/* Before the map is unmapped, when no thread reads it any more. */
void sigbus_unguard(struct guarded_map *map);

/* Whether zeros took the place of some bytes of a map; and of a map that any of the ranges lies in. */
int sigbus_map_unreadable(const struct guarded_map *map);
int sigbus_unreadable(const struct address_range *range, int n);

#endif

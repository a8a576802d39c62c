/* What happens when a file is cut short, or its disk fails, while what is mapped from it is read: SIGBUS, survived. */
#ifndef SUBBYTE_SIGBUS_H
#define SUBBYTE_SIGBUS_H
#include <stdint.h>

/* Mapped bytes that are read as a whole: a matrix, a file. */
struct address_range {
    uintptr_t start, end;
};

/* With it the calling thread survives SIGBUS at an address within one of n ranges: the missing pages read as zeros from then on,
 * and *unreadable is set. Any other SIGBUS does what it did before. */
struct sigbus_guard {
    const struct address_range *range;
    int n;
    int *unreadable;
};

/* Guards the calling thread from now on (with n = 0: no longer) and returns what it was guarded by before. The handler comes with
 * the first call. */
struct sigbus_guard sigbus_set_guard(struct sigbus_guard guard);

#endif

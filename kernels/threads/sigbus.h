/* What happens when a model's file is cut short, or its disk fails, while what is mapped from it is read. */
#ifndef SUBBYTE_GUARD_H
#define SUBBYTE_GUARD_H
#include "engine/plan.h"

struct mapped {
    uintptr_t start, end;
};

/* Between these two, the calling thread survives SIGBUS at an address within the weights of the step's plan: the missing pages read
 * as zeros from then on, and step->lost is set. Any other SIGBUS does what it did before. The handler comes with the first call. */
void guard_begin(struct step *step);
void guard_end(void);

/* The same for n mapped files; *lost is set. n = 0 ends it. */
void guard_mapped(const struct mapped *files, int n, int *lost);

#endif

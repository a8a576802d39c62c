/* What happens when a model's file is cut short, or its disk fails, while a step reads the weights mapped from it. */
#ifndef SUBBYTE_GUARD_H
#define SUBBYTE_GUARD_H
#include "plan.h"

/* Between these two, the calling thread survives SIGBUS at an address within the weights of the step's plan: the missing pages read
 * as zeros from then on, and step->lost is set. Any other SIGBUS does what it did before. The handler comes with the first call. */
void guard_begin(struct step *step);
void guard_end(void);

#endif

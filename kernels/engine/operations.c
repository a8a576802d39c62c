/* The kinds of operations by name. */
#include <string.h>
#include "operation.h"

#define OPERATION(name) extern const struct operation op_##name;
#include "operations.def"
#undef OPERATION

static const struct operation *const operations[] = {
#define OPERATION(name) &op_##name,
#include "operations.def"
#undef OPERATION
};

const struct operation *operation_of(const char *name)
{
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        if (strcmp(operations[i]->name, name) == 0)
            return operations[i];
    return NULL;
}

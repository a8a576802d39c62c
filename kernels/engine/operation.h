/* What a kind of operation says of itself: one `const struct operation op_NAME` in ops/NAME.c. The list of names in
 * kernels/meson.build compiles these files and makes operations.def of them; nothing else knows what kinds there are. */
#ifndef SUBBYTE_OPERATION_H
#define SUBBYTE_OPERATION_H
#include <stddef.h>
#include "ops.h"

/* A parameter of an operation by name: where it lies in the struct that op.parameters points to. */
struct field {
    const char *name;
    enum field_type {
        FIELD_INT,              /* int64_t */
        FIELD_FLOAT,            /* float */
        FIELD_VECTOR,           /* struct vector */
        FIELD_CHOICE            /* int64_t: the index of one of the words in `choices` */
    } type;
    int64_t offset;
    const char *choices;        /* separated by spaces */
};
/* FIELD(INT, attention, n_head) is n_head of struct attention, by that name. */
#define FIELD(kind, of, member) {.name = #member, .type = FIELD_##kind, .offset = offsetof(struct of, member)}
#define CHOICE(of, member, words) {.name = #member, .type = FIELD_CHOICE, .offset = offsetof(struct of, member), .choices = words}

/* The largest step that scratch memory is made for. */
struct step_size {
    int lanes, n_batch, n_threads;
    int64_t n_ctx;              /* of the longest cache */
};

/* Memory beside that of slots, inputs and panels; of all operations the largest is taken. */
struct scratch_need {
    int64_t thread_floats;      /* of each thread: thread_scratch.floats */
    int64_t shared_floats;      /* scratch.shared */
    int64_t thread_q8;          /* values of each thread: thread_scratch.q8 */
    int64_t prepared;           /* values of its inputs, where it has more of them than tokens: scratch.prepared */
    int n_counters;             /* scratch.counter: zero between operations */
};

/* n rows, which lie one after the other as [n_ctx][bytes] each. */
struct position_rows {
    int64_t n, bytes;
};

struct operation {
    const char *name;
    const struct field *fields; /* of the parameters, up to one without a name; NULL: it has none */
    int64_t parameter_bytes;
    /* Called by every thread of the team; ends with a barrier and returns its answer. */
    int (*run)(struct step *s, const struct op *op, struct team *team, int thread);
    /* NULL, or what is wrong with its operands and parameters. That slots exist and differ, and that the norm and biases have the
     * lengths they need, is known before. */
    const char *(*check)(const struct plan *plan, const struct op *op);
    /* NULL: none. */
    struct scratch_need (*scratch)(const struct op *op, struct step_size size);
    /* What it keeps of a sequence: rows of each position, in a cache of this format; or a recurrent state of so many floats, zeros before
     * the first token, which stands for all tokens so far. NULL: nothing. No operation has both. */
    struct position_rows (*position_rows)(const struct op *op, enum format format);
    int64_t (*state_floats)(const struct op *op);
};

/* The recurrent state of an operation in a cache, at a multiple of 64 bytes. */
static inline float *recurrent_state(const struct op *op, const struct cache *cache)
{
    return (float *)(cache->data + cache->offset[op->state]);
}

/* The kind of this name, or NULL. */
const struct operation *operation_of(const char *name);

/* Whether matrix i goes from in[0] to values of `width`. */
static inline int matrix_fits(const struct plan *plan, const struct op *op, int i, int64_t width)
{
    return op->matrix[i].weight.cols == plan->width[op->in[0]] && op->matrix[i].weight.rows == width;
}

#endif

# Cython's view of engine/: plans, steps, caches, divergence.


cdef extern from "threads/sigbus.h" nogil:
    struct address_range:
        size_t start, end
    struct guarded_map:
        pass
    guarded_map *sigbus_guard(address_range map)
    void sigbus_unguard(guarded_map *map)
    int sigbus_map_unreadable(const guarded_map *map)
    int sigbus_unreadable(const address_range *range, int n)

cdef extern from "threads/pool.h" nogil:
    enum: C_MAX_THREADS "MAX_THREADS"
    enum: POOL_CANCELLED

cdef extern from "engine/operation.h" nogil:
    enum: MAX_OPERANDS
    enum: MAX_ROPES
    enum activations: ACTIVATIONS_INT8, ACTIVATIONS_INT8X2, ACTIVATIONS_FLOAT
    enum head_kind: HEAD_LOGITS, HEAD_LOGPROB
    enum field_type: FIELD_INT, FIELD_FLOAT, FIELD_VECTOR, FIELD_CHOICE

    struct weight:
        const uint8_t *data
        int format
        int64_t rows, cols
    struct matrix_t "matrix":
        weight weight
        const float *bias
    struct vector_t "vector":
        const float *data
        int64_t n
    struct rope_t "rope":
        const double *freq
        const double *freq_long
        int64_t n_ctx_short
        int n_pairs
        float magnitude
        int interleaved
    struct op_t "op":
        const operation_t *kind
        int n_in, n_out, n_matrices
        int *in_ "in"
        int *out
        const float *norm
        float eps
        matrix_t *matrix
        const void *parameters
        int state
    struct plan_t "plan":
        op_t *op
        int n_ops
        op_t head
        int *width
        int n_slots
        rope_t *rope
        int n_ropes
        int n_states
        int max_cols
        address_range *weight_range
        int n_weight_ranges
    struct field_t "field":
        const char *name
        field_type type
        int64_t offset
        const char *choices
    struct operation_t "operation":
        const char *name
        const field_t *fields
        int64_t parameter_bytes
        const char *(*check)(const plan_t *plan, const op_t *op)
        void *position_rows
        void *state_floats
    const operation_t *operation_of(const char *name)

    struct cache_t "cache":
        uint8_t *data
        int64_t state_bytes
        int64_t *offset
        int64_t *held
        int64_t n_ctx
        int format
    struct segment:
        cache_t *cache
        int row, n
        int64_t pos
    struct scratch_t "scratch":
        float **slot
        int64_t memory_bytes
        int reads_ahead
    struct step_t "step":
        const plan_t *plan
        const kernels_t *kernels
        scratch_t *scratch
        const int32_t *token
        int n_tokens, first_op, last_op
        const segment *segment
        int n_segments
        head_kind head
        const int32_t *head_row
        int n_head_rows
        const int32_t *wanted
        float *logits
        float *logprob
        uint8_t *greedy
        int finite
        int64_t n_barriers, n_chunks, weight_bytes
    scratch_t *scratch_new(const plan_t *, const kernels_t *, int n_batch, int n_threads, int64_t n_ctx,
                           activations how)
    void scratch_free(scratch_t *)
    int step_run(step_t *, int (*poll)(void *) noexcept nogil, void *)

cdef extern from "engine/divergence.h" nogil:
    struct comparison_t "comparison":
        const kernels_t *kernels
        const float *p
        const float *q
        int p_is_log
        const int32_t *wanted
        int64_t n_rows, n_vocab
        double *log_p
        double *log_q
        double *divergence
        double *reverse
        double *common
        int32_t *top_p
        int32_t *top_q
    int compare_rows(comparison_t *c, int n_threads, int (*poll)(void *) noexcept nogil, void *)

cdef extern from "engine/cache.h" nogil:
    struct cache_part_t "cache_part":
        uint8_t *data
        int64_t bytes
    int64_t position_bytes(const plan_t *plan, int format)
    int64_t state_bytes(const plan_t *plan)
    int cache_init(cache_t *cache, const plan_t *plan, int64_t n_ctx, int format)
    void cache_free(cache_t *cache)
    void enter_state(const op_t *op, cache_t *cache, int64_t pos)
    int64_t cache_parts(const cache_t *cache, const plan_t *plan)
    cache_part_t cache_part(const cache_t *cache, const plan_t *plan, int64_t part, int64_t n_positions)

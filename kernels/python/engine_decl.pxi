# Cython's view of engine/: plans, steps, caches, divergence.


cdef extern from "threads/sigbus.h" nogil:
    struct address_range:
        size_t start, end

cdef extern from "threads/pool.h" nogil:
    enum: C_MAX_THREADS "MAX_THREADS"
    enum: POOL_CANCELLED

cdef extern from "engine/step.h" nogil:
    enum: MAX_TARGETS
    enum: MAX_ROPES
    enum op_kind: OP_EMBED, OP_LINEAR, OP_GATED, OP_ATTENTION, OP_NORM
    enum activation: ACT_SILU, ACT_GELU
    enum activations: ACTIVATIONS_INT8, ACTIVATIONS_INT8X2, ACTIVATIONS_FLOAT
    enum head_kind: HEAD_LOGITS, HEAD_LOGPROB

    struct weight:
        const uint8_t *data
        int format
        int64_t rows, cols
    struct rope_t "rope":
        const double *freq
        const double *freq_long
        int64_t n_ctx_short
        int n_pairs
        float magnitude
        int interleaved
    struct target_t "target":
        weight weight
        const float *bias
        int slot
    struct attention_t "attention":
        int q, k, v, n_head, n_head_kv, head_dim, layer, rope
        int64_t window
        float scale
        const float *q_norm
        const float *k_norm
    struct op_t "op":
        op_kind kind
        int src
        const float *norm
        float eps
        int n_targets
        target_t *target
        int accumulate
        activation activation
        float scale
        attention_t attention
    struct cache_layer:
        int n_head_kv, head_dim
    struct plan_t "plan":
        address_range *weight_range
        int n_weight_ranges
        op_t *op
        int n_ops
        int *width
        int n_slots
        rope_t *rope
        int n_ropes
        cache_layer *layer
        int n_layers
        int max_cols
        int src
        const float *norm
        float eps
        weight output
        float softcap
    struct cache_t "cache":
        uint8_t *data
        int64_t *offset
        int64_t n_ctx
        int format
    struct segment:
        cache_t *cache
        int row, n
        int64_t pos
    struct scratch_t "scratch":
        float **slot
        int64_t memory_bytes
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
        int finite, unreadable
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
        int32_t *top_p
        int32_t *top_q
    int compare_rows(comparison_t *c, int n_threads, int (*poll)(void *) noexcept nogil, void *)

cdef extern from "engine/kv_cache.h" nogil:
    int64_t cache_bytes(const plan_t *plan, int64_t n_ctx, int format)
    int cache_init(cache_t *cache, const plan_t *plan, int64_t n_ctx, int format)
    void cache_free(cache_t *cache, const plan_t *plan)

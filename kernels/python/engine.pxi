# Caches and engines: what runs a plan, and the checks of each step.


cdef class Cache:
    """What a plan keeps of one sequence: keys and values of n_ctx positions, and recurrent states.

    Memory is reserved at once, taken as positions fill. cache_type, of keys and values: "f16", "q8_0" (int8 with a
    float16 scale per 32 values: about half of f16) or "f32". Recurrent states are float32.
    """

    cdef cache_t c
    cdef Plan plan

    def __init__(self, Plan plan not None, int64_t n_ctx, str cache_type not None):
        if not 1 <= n_ctx <= MAX_CTX:
            raise ValueError(f"a context of {n_ctx} tokens; allowed are 1..{MAX_CTX}")
        need = plan.cache_bytes(n_ctx, cache_type)
        if need >= 2**62 or cache_init(&self.c, &plan.p, n_ctx, cache_format(cache_type)):
            raise ResourceError(f"no memory for a KV cache of {need / 2**20:.0f} MiB "
                                f"({n_ctx} tokens); ask for a smaller context")
        self.plan = plan

    def __dealloc__(self):
        cache_free(&self.c)

    @property
    def state_tokens(self) -> int:
        """The tokens that the recurrent states stand for; -1 where a step that changed them failed. 0 without any."""
        tokens = {self.c.held[self.plan.p.op[i].state] for i in range(self.plan.p.n_ops)
                  if self.plan.p.op[i].kind.state_floats != NULL}
        return tokens.pop() if len(tokens) == 1 else -1 if tokens else 0

    def copy_state(self) -> NDArray[np.uint8]:
        """A copy of the recurrent states, bytes [Plan.state_bytes]."""
        cdef uint8_t[::1] copy = np.empty(self.c.state_bytes, np.uint8)
        if self.c.state_bytes:
            memcpy(&copy[0], self.c.data, self.c.state_bytes)
        return np.asarray(copy)

    def set_state(self, const uint8_t[::1] state not None, int64_t n_tokens) -> None:
        """Puts a copy of recurrent states back, which stand for the first n_tokens."""
        if state.shape[0] != self.c.state_bytes or not 0 <= n_tokens <= self.c.n_ctx:
            raise ValueError(f"{state.shape[0]} bytes of states behind {n_tokens} tokens, not {self.c.state_bytes}")
        if self.c.state_bytes:
            memcpy(self.c.data, &state[0], self.c.state_bytes)
        self.hold(n_tokens)

    def parts(self, int64_t n_positions) -> list[int]:
        """The bytes of each part that `copy_part` gives: recurrent states, if there are any, and rows of positions."""
        return [self.part(i, n_positions).bytes for i in range(cache_parts(&self.c, &self.plan.p))]

    def copy_part(self, int64_t i, int64_t n_positions) -> NDArray[np.uint8]:
        """A copy of a part of the first n_positions, as bytes."""
        cdef cache_part_t part = self.part(i, n_positions)
        cdef uint8_t[::1] copy = np.empty(part.bytes, np.uint8)
        if part.bytes:
            memcpy(&copy[0], part.data, part.bytes)
        return np.asarray(copy)

    def set_part(self, int64_t i, int64_t n_positions, const uint8_t[::1] data not None) -> None:
        """Puts a copy of a part back; the recurrent states then stand for the first n_positions."""
        cdef cache_part_t part = self.part(i, n_positions)
        if data.shape[0] != part.bytes:
            raise ValueError(f"{data.shape[0]} bytes for part {i} of {n_positions} positions, which has {part.bytes}")
        if part.bytes:
            memcpy(part.data, &data[0], part.bytes)
        self.hold(n_positions)

    def copy_from(self, Cache other not None, int64_t n_positions) -> None:
        """Takes over the first n_positions of another cache of the same plan and type, and its recurrent states."""
        if other.plan is not self.plan or other.c.format != self.c.format:
            raise ValueError("a copy needs a cache of the same plan and cache_type")
        cdef cache_part_t part, own
        for i in range(cache_parts(&self.c, &self.plan.p)):
            part, own = other.part(i, n_positions), self.part(i, n_positions)
            with nogil:
                if part.bytes:
                    memcpy(own.data, part.data, part.bytes)
        memcpy(self.c.held, other.c.held, self.plan.p.n_states * sizeof(int64_t))

    cdef cache_part_t part(self, int64_t i, int64_t n_positions) except *:
        if not 0 <= n_positions <= self.c.n_ctx or not 0 <= i < cache_parts(&self.c, &self.plan.p):
            raise ValueError(f"part {i} of {n_positions} positions in a cache of {self.c.n_ctx}")
        return cache_part(&self.c, &self.plan.p, i, n_positions)

    cdef void hold(self, int64_t n_tokens) noexcept:
        """What stands for no tokens may be anything: a step that begins there makes zeros of it."""
        for i in range(self.plan.p.n_states):
            self.c.held[i] = n_tokens if n_tokens else -1


cdef class TryLock:
    """What one thread at a time can hold: `with lock:`, SessionBusy where another thread, or this one further out, holds it.

    Written here rather than in Python, where a signal could strike between taking it and entering the block, so that it
    would never be given back. what: is held, for the message; instead: what to do where it is.
    """

    cdef object lock
    cdef str message

    def __init__(self, str what not None="this session", str instead not None="give each thread a session of its own"):
        self.lock = threading.Lock()
        self.message = f"{what} is in use by another thread, or by a callback of its own; {instead}"

    def __enter__(self):
        if not self.lock.acquire(False):
            raise SessionBusy(self.message)

    def __exit__(self, *_):
        self.lock.release()


cdef class Poll:
    cdef object error
    cdef bint cancelled


cdef int poll_signals(void *arg) noexcept with gil:
    try:
        PyErr_CheckSignals()
        if (<Poll>arg).cancelled:
            raise StepCancelled("the step was cancelled from another thread")
    except BaseException as error:
        (<Poll>arg).error = error
        return 1
    return 0


cdef object whole_number(value):
    """Python's or numpy's integers as int; a bool or anything else is a TypeError."""
    try:
        if not isinstance(value, (bool, np.bool_)):
            return operator.index(value)
    except TypeError:
        pass
    raise TypeError(f"token ids must be integers, not {type(value).__name__}")


def token_ids(tokens, int64_t n_vocab):
    """tokens as int32 [n]. Raises TypeError unless they are integers (no bool, no float), ValueError for other ids."""
    if isinstance(tokens, (bytes, bytearray)):
        raise TypeError("token ids must be integers, not a text's bytes")
    cdef list items
    try:
        items = list(tokens)   # our own: no __index__, nor another thread, can make it longer
    except TypeError:
        raise TypeError(f"token ids are a list or an array of integers, not one {type(tokens).__name__}") from None
    cdef int32_t[::1] ids = np.empty(len(items), np.int32)
    cdef int64_t i = 0
    for token in items:
        if type(token) is not int:
            token = whole_number(token)
        if not 0 <= token < n_vocab:
            raise ValueError(f"token id {token} is none of this model's, which are 0 to {n_vocab - 1}")
        ids[i] = token
        i += 1
    return np.asarray(ids)


cdef bint all_within(const int32_t[::1] values, int64_t end) noexcept:
    """Whether all lie in 0 .. end - 1."""
    for i in range(values.shape[0]):
        if values[i] < 0 or values[i] >= end:
            return False
    return True


cdef int raise_status(int status, int n_threads) except -1:
    """The error that a region of the thread pool ended with, if it did."""
    if status == errno.EDEADLK:
        raise SessionBusy("a signal handler ran a model while this thread was running one; only set a flag there")
    if status == POOL_CANCELLED:
        raise ResourceError("this process was forked while a step was running; evaluate again")
    if status:
        raise ResourceError(f"{n_threads} threads could not be started: {os.strerror(status)}")
    return 0


cdef class Engine:
    """Runs steps of one plan with its own scratch memory; used by one thread at a time.

    isa: None for the best one. activations: what meets quantized weights: "int8" (a scale per 32), "int8x2" (int8 plus
    its quantization residual as int8 again, about 15 bits for twice the work), or "float32" (the slow baseline of both).
    reads_ahead: the model is larger than memory, so that a step asks for routed experts as soon as they are chosen.
    """

    cdef Plan plan
    cdef const kernels_t *kernels
    cdef scratch_t *scratch
    cdef readonly int n_batch, n_threads
    cdef int n_rows                # tokens of the latest step or write
    cdef readonly double seconds   # spent in C so far, by the clock
    cdef readonly int64_t n_barriers, n_chunks, weight_bytes   # of the latest step: the work of all threads, counted
    cdef readonly object greedy    # bool [n], with the latest log-probabilities: whether no token is more probable
    cdef int64_t n_ctx
    cdef Poll poll                 # of the step that runs

    def __init__(self, Plan plan not None, *, int n_batch, int n_threads, int64_t n_ctx, isa=None, str activations="int8",
                 bint reads_ahead=False):
        how = {"int8": ACTIVATIONS_INT8, "int8x2": ACTIVATIONS_INT8X2, "float32": ACTIVATIONS_FLOAT}.get(activations)
        if how is None:
            raise ValueError(f"activations {activations!r}; allowed are int8, int8x2 and float32")
        if not 1 <= n_threads <= MAX_THREADS:
            raise ValueError(f"{n_threads} threads, allowed are 1..{MAX_THREADS}")
        if plan.p.n_ops == 0 or plan.p.head.kind == NULL:
            raise ValueError("an engine needs a finished plan")
        if not 1 <= n_batch <= MAX_BATCH or not 1 <= n_ctx <= MAX_CTX:
            found = f"batches of {n_batch} tokens, a context of {n_ctx}"
            raise ValueError(f"{found}; allowed are 1..{MAX_BATCH} and 1..{MAX_CTX}")
        self.kernels = table_of(isa)
        self.plan = plan
        self.n_batch, self.n_threads, self.n_ctx = n_batch, n_threads, n_ctx
        self.scratch = scratch_new(&plan.p, self.kernels, n_batch, n_threads, n_ctx, how)
        if self.scratch == NULL:
            raise ResourceError(f"no memory for a batch of {n_batch} tokens and {n_threads} threads")
        self.scratch.reads_ahead = reads_ahead
        self.greedy = np.empty(0, np.bool_)

    def __dealloc__(self):
        scratch_free(self.scratch)

    @property
    def isa(self) -> str:
        return self.kernels.name.decode()

    def step(self, tokens, segments, *, logits_of=(), wanted=None, operations=None):
        """Runs the plan over tokens (int32 [n], n <= n_batch) and appends to the caches.

        segments: (cache, n, pos) each; their n rows follow one another. logits_of: rows whose next-token logits are
        wanted. wanted: token ids, one for each row of logits_of: return log-probabilities [n] of these instead of
        logits [n, n_vocab]; `greedy` then tells which of them are the most probable. operations: (first, last), only those from first to last - 1 of the plan's, over what a
        step before this one, or `write`, left in the slots.
        Raises ModelChanged when weights can't be read, NumericError when a result is not finite, ResourceError without
        threads, StepCancelled after `cancel`, and what a signal handler raises.
        """
        cdef int32_t[::1] ids = np.ascontiguousarray(tokens, np.int32)
        cdef step_t s
        memset(&s, 0, sizeof(s))
        s.first_op, s.last_op = (0, self.plan.p.n_ops) if operations is None else operations
        if not 0 <= s.first_op <= s.last_op <= self.plan.p.n_ops:
            raise ValueError(f"operations {s.first_op} to {s.last_op} of {self.plan.p.n_ops}")
        if not 1 <= ids.shape[0] <= self.n_batch:
            raise ValueError(f"a step of {ids.shape[0]} tokens, allowed are 1..{self.n_batch}")
        if not all_within(ids, self.plan.n_ids):
            raise ValueError(f"token ids must lie in 0..{self.plan.n_ids - 1}")
        segments = tuple(segments)   # keeps the caches while C uses them
        self.n_rows = 0
        s.segment = self.lay_segments(segments, ids.shape[0], &s.n_segments)
        try:
            s.token, s.n_tokens = &ids[0], ids.shape[0]
            self.enter_states(&s)
            result = self.run(&s, logits_of, wanted)
            self.leave_states(&s)
        finally:
            free(<void *>s.segment)
        self.n_rows = ids.shape[0]
        return result

    def cancel(self) -> None:
        """Ends the step that is running, within some 50 ms, from another thread; if none is, nothing happens."""
        cdef Poll poll = self.poll
        if poll is not None:
            poll.cancelled = True

    def head(self, rows, wanted=None):
        """Logits of rows of the latest step, or log-probabilities of wanted tokens, as `step` gives them.

        A row may be asked for more than once, for several tokens; at most n_batch rows at a time. So the logits of a long
        text need memory for as many rows as are asked for at once, not for all.
        """
        cdef step_t s
        memset(&s, 0, sizeof(s))
        s.n_tokens = self.n_rows
        return self.run(&s, rows, wanted)

    def read(self, int slot) -> NDArray[np.float32]:
        """The values in a slot after the latest step or `write`, as a new float32 array [n tokens, width]."""
        cdef float[:, ::1] values = np.empty((self.n_rows, self.plan.width(slot)), np.float32)
        if self.n_rows:
            memcpy(&values[0, 0], self.scratch.slot[slot], values.shape[0] * values.shape[1] * sizeof(float))
        return np.asarray(values)

    def write(self, int slot, const float[:, ::1] values not None) -> None:
        """Puts values [n tokens, width] into a slot, for a step that begins behind the operation that would write it."""
        if values.shape[1] != self.plan.width(slot) or not 1 <= values.shape[0] <= self.n_batch:
            raise ValueError(f"values {values.shape[0]} x {values.shape[1]} for {self.n_batch} x {self.plan.width(slot)}")
        memcpy(self.scratch.slot[slot], &values[0, 0], values.shape[0] * values.shape[1] * sizeof(float))
        self.n_rows = values.shape[0]

    cdef object run(self, step_t *s, rows_given, wanted):
        """Runs a step whose tokens and operations are set; what its head gives, None without rows."""
        cdef int32_t[::1] rows = np.ascontiguousarray(rows_given, np.int32)
        cdef int32_t[::1] targets = np.ascontiguousarray(() if wanted is None else wanted, np.int32)
        cdef int64_t n_vocab = self.plan.p.head.matrix[0].weight.rows
        cdef Poll poll = Poll()
        cdef int status
        cdef double start
        if rows.shape[0] > self.n_batch or not all_within(rows, s.n_tokens):
            raise ValueError(f"at most {self.n_batch} rows, of {s.n_tokens} that there are")
        if wanted is not None and (targets.shape[0] != rows.shape[0] or not all_within(targets, n_vocab)):
            raise ValueError(f"one wanted token id in 0..{n_vocab - 1} for each row")
        check_readable(self.plan.p.weight_range, self.plan.p.n_weight_ranges)
        s.plan, s.kernels, s.scratch = &self.plan.p, self.kernels, self.scratch
        result = self.lay_head(s, rows, targets, wanted is not None) if rows.shape[0] else None
        start = time.perf_counter()
        self.poll = poll
        with nogil:
            status = step_run(s, poll_signals, <void *>poll)
        self.poll = None
        self.seconds += time.perf_counter() - start
        self.n_barriers, self.n_chunks, self.weight_bytes = s.n_barriers, s.n_chunks, s.weight_bytes
        if poll.error is not None:
            raise poll.error
        check_readable(self.plan.p.weight_range, self.plan.p.n_weight_ranges)
        raise_status(status, self.n_threads)
        if not s.finite:
            raise NumericError("the model's output is not finite: its weights or hyper-parameters are damaged")
        return result

    cdef const segment *lay_segments(self, segments, int n_tokens, int *n) except NULL:
        cdef segment *out = <segment *>calloc(len(segments) + 1, sizeof(segment))
        cdef Cache cache
        cdef int row = 0
        if out == NULL:
            raise MemoryError
        try:
            for i, (cache, count, pos) in enumerate(segments):
                if (cache is None or count < 1 or pos < 0 or pos + count > cache.c.n_ctx
                        or cache.c.n_ctx > self.n_ctx or cache.plan is not self.plan):
                    raise ValueError(f"{count} tokens at position {pos} of a cache of {cache.c.n_ctx}")
                out[i].cache, out[i].row, out[i].n, out[i].pos = &cache.c, row, count, pos
                row += count
            if row != n_tokens:
                raise ValueError(f"segments of {row} tokens for {n_tokens}")
        except BaseException:
            free(out)
            raise
        n[0] = len(segments)
        return out

    cdef int enter_states(self, step_t *s) except -1:
        """Recurrent states must stand where their segment begins, or begin there: a step changes them in place."""
        for g in range(s.n_segments):
            for i in range(s.first_op, s.last_op):
                if self.plan.p.op[i].kind.state_floats != NULL:
                    held = s.segment[g].cache.held[self.plan.p.op[i].state]
                    if s.segment[g].pos not in (0, held):
                        raise ValueError(f"tokens at position {s.segment[g].pos} for a recurrent state of {held} tokens")
        for g in range(s.n_segments):
            for i in range(s.first_op, s.last_op):
                if self.plan.p.op[i].kind.state_floats != NULL:
                    enter_state(&self.plan.p.op[i], s.segment[g].cache, s.segment[g].pos)
        return 0

    cdef void leave_states(self, step_t *s) noexcept:
        """They stand where the segment ends. After a step that failed they stand for nothing."""
        for g in range(s.n_segments):
            for i in range(s.first_op, s.last_op):
                if self.plan.p.op[i].kind.state_floats != NULL:
                    s.segment[g].cache.held[self.plan.p.op[i].state] = s.segment[g].pos + s.segment[g].n

    cdef object lay_head(self, step_t *s, int32_t[::1] rows, int32_t[::1] targets, bint logprob):
        cdef float[:, ::1] logits
        cdef float[::1] logprobs
        cdef uint8_t[::1] greedy
        s.head_row, s.n_head_rows = &rows[0], rows.shape[0]
        if logprob:
            logprobs, greedy = np.empty(rows.shape[0], np.float32), np.zeros(rows.shape[0], np.uint8)
            s.head, s.wanted, s.logprob, s.greedy = HEAD_LOGPROB, &targets[0], &logprobs[0], &greedy[0]
            self.greedy = np.asarray(greedy).view(bool)
            return np.asarray(logprobs)
        logits = np.empty((rows.shape[0], self.plan.p.head.matrix[0].weight.rows), np.float32)
        s.head, s.logits = HEAD_LOGITS, &logits[0, 0]
        return np.asarray(logits)

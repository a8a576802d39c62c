/* The lock of the thread pool: callers get it in the order they came. */
#ifndef SUBBYTE_FIFO_LOCK_H
#define SUBBYTE_FIFO_LOCK_H

/* 0, or POOL_CANCELLED when poll returned nonzero while waiting; it is called about every 50 ms. */
int fifo_lock(int (*poll)(void *), void *poll_arg);
void fifo_unlock(void);

/* To be called by pthread_atfork's handlers. The child starts with nobody's turn and nobody waiting. */
void fifo_lock_before_fork(void);
void fifo_lock_after_fork_parent(void);
void fifo_lock_after_fork_child(void);

#endif

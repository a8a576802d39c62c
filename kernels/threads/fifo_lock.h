/* Whose region runs next: callers wait for their turn in the order they came. */
#ifndef SUBBYTE_FIFO_LOCK_H
#define SUBBYTE_FIFO_LOCK_H

/* 0, or POOL_CANCELLED when poll returned nonzero while waiting; it is called about every 50 ms. */
int take_turn(int (*poll)(void *), void *poll_arg);
void give_turn(void);

/* To be called by pthread_atfork's handlers. The child starts with nobody's turn and nobody waiting. */
void turns_before_fork(void);
void turns_after_fork_parent(void);
void turns_after_fork_child(void);

#endif

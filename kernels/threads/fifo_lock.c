#define _GNU_SOURCE
#include "fifo_lock.h"

#include <pthread.h>
#include "futex.h"
#include "pool.h"

struct waiter {
    struct gate gate;                  /* opened when it is this caller's turn */
    struct waiter *next;
};

static struct {
    pthread_mutex_t lock;              /* held for a few instructions only */
    int busy;
    struct waiter *first, *last;
    unsigned forks;                    /* how many forks lie between this process and the first */
} line = {.lock = PTHREAD_MUTEX_INITIALIZER};

void turns_before_fork(void) { pthread_mutex_lock(&line.lock); }
void turns_after_fork_parent(void) { pthread_mutex_unlock(&line.lock); }

void turns_after_fork_child(void)
{
    line.busy = 0;
    line.first = line.last = NULL;
    line.forks++;
    pthread_mutex_unlock(&line.lock);
}

void give_turn(void)
{
    pthread_mutex_lock(&line.lock);
    struct waiter *w = line.first;
    if (w) {
        line.first = w->next;
        gate_open(&w->gate);           /* handed over, so that a fast caller can't take it again and again */
    } else {
        line.busy = 0;
    }
    pthread_mutex_unlock(&line.lock);
}

/* Leaves the queue; 0 when the turn had been given already. */
static int leave_queue(struct waiter *me)
{
    struct waiter *before = NULL;
    int found = 0;
    pthread_mutex_lock(&line.lock);
    for (struct waiter **link = &line.first; *link; link = &(*link)->next) {
        if (*link == me) {
            *link = me->next;
            if (line.last == me)
                line.last = before;
            found = 1;
            break;
        }
        before = *link;
    }
    pthread_mutex_unlock(&line.lock);
    return found;
}

int take_turn(int (*poll)(void *), void *poll_arg)
{
    struct waiter me = {.next = NULL};
    const struct timespec limit = {0, POLL_NS};
    pthread_mutex_lock(&line.lock);
    unsigned forks = line.forks;
    int free = !line.busy;
    if (free)
        line.busy = 1;
    else if (line.first)
        line.last = line.last->next = &me;
    else
        line.first = line.last = &me;
    pthread_mutex_unlock(&line.lock);
    if (free)
        return 0;

    int64_t next_poll = now_ns(CLOCK_MONOTONIC_COARSE) + POLL_NS;
    while (gate_value(&me.gate) == 0) {
        gate_sleep(&me.gate, 0, &limit);
        if (!poll || now_ns(CLOCK_MONOTONIC_COARSE) < next_poll)
            continue;
        int cancel = poll(poll_arg);
        if (forks != line.forks)       /* poll forked, this is the child: its queue is another one */
            return cancel ? POOL_CANCELLED : take_turn(poll, poll_arg);
        if (cancel) {
            if (!leave_queue(&me))
                give_turn();
            return POOL_CANCELLED;
        }
        next_poll = now_ns(CLOCK_MONOTONIC_COARSE) + POLL_NS;
    }
    /* The giver may still hold the gate's address for its wake call; it has the lock then. */
    pthread_mutex_lock(&line.lock);
    pthread_mutex_unlock(&line.lock);
    return 0;
}

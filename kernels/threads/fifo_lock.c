#define _GNU_SOURCE
#include "fifo_lock.h"

#include <pthread.h>
#include "futex.h"
#include "pool.h"

struct waiter {
    struct futex_event called;         /* signalled when it is this caller's turn */
    struct waiter *next;
};

static struct {
    pthread_mutex_t lock;              /* held for a few instructions only */
    int busy;
    struct waiter *first, *last;
    unsigned forks;                    /* how many forks lie between this process and the first */
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER};

void fifo_lock_before_fork(void) { pthread_mutex_lock(&queue.lock); }
void fifo_lock_after_fork_parent(void) { pthread_mutex_unlock(&queue.lock); }

void fifo_lock_after_fork_child(void)
{
    queue.busy = 0;
    queue.first = queue.last = NULL;
    queue.forks++;
    pthread_mutex_unlock(&queue.lock);
}

void fifo_unlock(void)
{
    pthread_mutex_lock(&queue.lock);
    struct waiter *w = queue.first;
    if (w) {
        queue.first = w->next;
        futex_signal(&w->called);           /* handed over, so that a fast caller can't take it again and again */
    } else {
        queue.busy = 0;
    }
    pthread_mutex_unlock(&queue.lock);
}

/* Leaves the queue; 0 when the lock had been handed over already. */
static int leave_queue(struct waiter *me)
{
    struct waiter *before = NULL;
    int found = 0;
    pthread_mutex_lock(&queue.lock);
    for (struct waiter **link = &queue.first; *link; link = &(*link)->next) {
        if (*link == me) {
            *link = me->next;
            if (queue.last == me)
                queue.last = before;
            found = 1;
            break;
        }
        before = *link;
    }
    pthread_mutex_unlock(&queue.lock);
    return found;
}

int fifo_lock(int (*poll)(void *), void *poll_arg)
{
    struct waiter me = {.next = NULL};
    const struct timespec limit = {0, POLL_NS};
    pthread_mutex_lock(&queue.lock);
    unsigned forks = queue.forks;
    int free = !queue.busy;
    if (free)
        queue.busy = 1;
    else if (queue.first)
        queue.last = queue.last->next = &me;
    else
        queue.first = queue.last = &me;
    pthread_mutex_unlock(&queue.lock);
    if (free)
        return 0;

    int64_t next_poll = now_ns(CLOCK_MONOTONIC_COARSE) + POLL_NS;
    while (futex_value(&me.called) == 0) {
        futex_sleep(&me.called, 0, &limit);
        if (!poll || now_ns(CLOCK_MONOTONIC_COARSE) < next_poll)
            continue;
        int cancel = poll(poll_arg);
        if (forks != queue.forks)       /* poll forked, this is the child: its queue is another one */
            return cancel ? POOL_CANCELLED : fifo_lock(poll, poll_arg);
        if (cancel) {
            if (!leave_queue(&me))
                fifo_unlock();
            return POOL_CANCELLED;
        }
        next_poll = now_ns(CLOCK_MONOTONIC_COARSE) + POLL_NS;
    }
    /* The giver may still hold the event's address for its wake call; it has the lock then. */
    pthread_mutex_lock(&queue.lock);
    pthread_mutex_unlock(&queue.lock);
    return 0;
}

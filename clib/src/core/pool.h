/* pool.h - a fixed set of threads that share out numbered items.
 *
 * Items come from one atomic counter, so a preempted thread delays only the item in its hand and nobody waits for a thread
 * that never woke up.  Workers spin briefly for the next job (decode steps follow each other within microseconds), then sleep.
 * Which thread runs an item must not change any result: items write disjoint outputs. */
#ifndef LT_POOL_H
#define LT_POOL_H

#include "core/status.h"
#include "core/topology.h"

typedef struct lt_pool lt_pool;
typedef void (*lt_work)(void *context, int32_t item, int32_t worker); /* worker: 0..n_threads-1, for scratch */

int lt_pool_create(lt_pool **out, int32_t n_threads); /* the caller's thread is one of them */
/* Binds thread i, the calling one is 0, to the processors groups[i % n_groups]; LT_E_IO when the system refuses.  Destroying the
 * pool in the same thread gives that its own processors back. */
int lt_pool_bind(lt_pool *p, const lt_bits *groups, int32_t n_groups);
void lt_pool_destroy(lt_pool *p);
int32_t lt_pool_size(const lt_pool *p);

/* Runs items 0..n_items-1 on at most n_threads threads and returns when all are done.  One caller at a time. */
void lt_pool_run(lt_pool *p, int32_t n_threads, lt_work work, void *context, int32_t n_items);

#endif

/* pool.h - the states that texts lead to, each kept once.
 *
 *      frame    what waits on a stack: a position to return to, or a loop and its round; below it the frame that it stands on
 *      thread   a position (READ or TOKEN) and a stack: one way to understand the text so far
 *      state    all threads for a text, sorted, and whether the text is complete
 *
 * Equal frames and equal states have equal numbers, so comparing and copying them costs nothing, and what has been found out
 * about a state (where each byte leads, its token mask) serves whoever comes to it again.
 *
 * Counts make many states that differ in nothing that one token could show: "17 of at most 1000" and "18 of at most 1000".
 * Each frame therefore knows its stand-in, the same with counts that are far from any bound set back; a token mask is
 * computed for, and kept with, the state of stand-ins. */
#ifndef LT_GRAMMAR_POOL_H
#define LT_GRAMMAR_POOL_H

#include "grammar/program.h"

enum {
    LT_MAX_THREADS = 4096,       /* of a state */
    LT_MAX_STACK = 1 << 14,      /* frames on one another */
    LT_MAX_CLOSURE = 1 << 16,    /* positions looked at to find the threads of one state */
    LT_BROKEN_OFF_COST = 1 << 14, /* ... where that is too many */
    LT_MAX_MASK_COST = 1 << 19,  /* ... of all states that the tokens of one mask lead through */
    LT_POOL_BYTES = 16 << 20,    /* from here on, what no open state needs is dropped before the next call */
    LT_MASKS_BYTES = 8 << 20     /* masks that are kept */
};
enum { LT_STATE_DEAD = UINT32_MAX, LT_STATE_OVER = UINT32_MAX - 1 }; /* the text is refused; it would take more than is allowed */
enum { LT_NONE = UINT32_MAX };

typedef struct {
    uint32_t at;    /* position to return to; of a loop: its number */
    uint32_t round; /* 0: a call; else rounds of the loop begun, this one included */
    uint32_t below; /* frame; 0: the empty stack */
    uint32_t stand_in, depth, hash;
} lt_frame;

typedef struct {
    uint32_t at, stack;
} lt_thread;

enum { LT_STATE_COMPLETE = 1, LT_STATE_TOKENS = 2, LT_STATE_WAITS = 4 }; /* may end here; has TOKEN threads; for a trigger */

typedef struct {
    uint32_t hash, threads, n_threads; /* in pool.threads */
    uint32_t edges;                    /* state by class of byte, in pool.edges; LT_NONE: not expanded */
    uint32_t cost;                     /* of expanding it */
    uint32_t stand_in;                 /* LT_NONE: not known yet */
    uint32_t mask;                     /* in pool.masks; LT_NONE */
    uint32_t walk;                     /* the last walk that came here */
    uint64_t stays[3];                 /* first bytes of characters that all lead to a state with the same stand-in: one bit
                                          each, from 0, 0x40 and 0xC0 on */
    uint8_t flags;                     /* LT_STATE_* */
    uint8_t stays_known;
    uint8_t high_stays;                /* every byte from 0x80 on leads to such a state */
} lt_state;

typedef struct {
    uint32_t *words; /* one bit for each token */
    uint32_t state, n_allowed;
    uint64_t used; /* when it was last asked for */
} lt_kept_mask;

typedef struct {
    LT_LIST(lt_frame) frames; /* number 0 is the empty stack */
    LT_LIST(lt_state) states;
    LT_LIST(lt_thread) threads;
    LT_LIST(uint32_t) edges;
    LT_LIST(lt_kept_mask) masks;
    uint32_t *frame_slots, *state_slots; /* number + 1 by hash */
    uint32_t n_frame_slots, n_state_slots, walk;
    uint64_t clock;
} lt_pool;

int lt_pool_open(lt_pool *pool);
void lt_pool_close(lt_pool *pool);
size_t lt_pool_bytes(const lt_pool *pool);

/* `reach`: bytes of the longest token, which bounds the rounds that one token can begin. */
int lt_pool_frame(lt_pool *pool, const lt_program *p, uint32_t reach, lt_frame wanted, uint32_t *out);
int lt_pool_state(lt_pool *pool, const lt_thread *threads, uint32_t n, uint8_t flags, uint32_t *out); /* sorted threads */
void lt_threads_sort(lt_thread *threads, uint32_t n);

#endif

/* grammar.h - a grammar in use: its program, the states found so far, and whoever holds one of them. */
#ifndef LT_GRAMMAR_H
#define LT_GRAMMAR_H

#include <pthread.h>

#include "grammar/pool.h"
#include "token/piece_trie.h"

/* Scratch for finding the threads of a state. */
typedef struct {
    LT_LIST(lt_thread) todo, found;
    struct lt_closure_slot {
        lt_thread key;
        uint32_t round; /* free, unless it is the present one */
    } *slots;
    uint32_t n_slots, n_used, round;
    uint32_t n_steps;
    uint8_t flags; /* LT_STATE_* of the state to be */
    bool over;     /* more steps, threads or frames than allowed */
} lt_closure;

/* A trigger and the state behind it. */
typedef struct {
    int32_t token;    /* -1: a word */
    lt_gstate *start; /* NULL while it is not known */
} lt_trigger;

typedef struct {
    uint32_t from, to; /* of the piece tree's ids */
} lt_id_range;

struct lt_grammar {
    const lt_vocab *vocab; /* held */
    const lt_piece_trie *trie;
    lt_program program;
    lt_pool pool;
    lt_closure closure;
    LT_LIST(lt_thread) ways; /* scratch of expand.c: where each class of bytes leads, class by class */
    LT_LIST(lt_thread) move; /* scratch of stand-ins and of moving states */
    LT_LIST(lt_trigger) triggers;
    uint32_t *walk_states;         /* [longest piece + 1] scratch of mask.c */
    LT_LIST(lt_id_range) walk_ids; /* scratch of mask.c: what has been allowed, */
    uint32_t *walk_words;          /* and the mask in the making */
    lt_gstate *states;             /* all that are open */
    const lt_gstate *first;        /* where every sequence begins */
    uint32_t n_holders;            /* the opener, and the states that it has been given */
    uint32_t start;                /* position: of the root rule, or waiting for a trigger */
    size_t collect_at;             /* bytes of the pool */
    pthread_mutex_t lock;          /* of all that changes */
};

struct lt_gstate {
    lt_grammar *g;
    uint32_t state;
    lt_gstate *next, *prev;
};

/* closure.c: from positions to a state.  *state is LT_STATE_DEAD without any thread, LT_STATE_OVER beyond the limits. */
void lt_closure_begin(lt_grammar *g);
int lt_closure_add(lt_grammar *g, uint32_t at, uint32_t stack);
int lt_closure_add_state(lt_grammar *g, uint32_t state); /* one that is closed already */
int lt_closure_end(lt_grammar *g, uint32_t *state);
void lt_closure_free(lt_closure *c);

/* expand.c: where bytes lead.  Fills the edges of a state; then lt_edge_of answers. */
int lt_state_expand(lt_grammar *g, uint32_t state);
int lt_state_stand_in(lt_grammar *g, uint32_t state, uint32_t *out);
int lt_state_read(lt_grammar *g, uint32_t state, const uint8_t *bytes, uint32_t n, uint32_t *out);
static inline uint32_t lt_edge_of(const lt_grammar *g, uint32_t state, uint8_t byte)
{
    return g->pool.edges.at[g->pool.states.at[state].edges + g->program.class_of[byte]];
}

/* stays.c: bytes and characters after which everything is as before. */
int lt_state_find_stays(lt_grammar *g, uint32_t state);

/* tokens.c: one token on. */
int lt_state_take(lt_grammar *g, uint32_t state, int32_t token, uint32_t *out);
int lt_grammar_over(void); /* the sentence for LT_STATE_OVER */

/* mask.c: the tokens that may follow. */
int lt_state_mask(lt_grammar *g, uint32_t state, const lt_kept_mask **out);

/* trigger.c: positions that wait for words, in front of the program; then the states behind words and tokens. */
int lt_triggers_compile(lt_grammar *g, const lt_grammar_opts *o);
int lt_triggers_settle(lt_grammar *g, const lt_grammar_opts *o, uint32_t root);

/* collect.c: drops all that no open state needs, once the pool is large. */
int lt_grammar_collect(lt_grammar *g);

/* grammar.c */
int lt_gstate_create(lt_gstate **out, lt_grammar *g, uint32_t state);

#endif

/* program.h - a compiled grammar: positions of an automaton that reads bytes and has a stack.  Immutable once it is made.
 *
 *      READ    one byte, by a sorted list of edges (byte range -> position)
 *      TOKEN   one whole token, where a token begins
 *      FORK    goes on at several positions at once
 *      CALL    a rule; what follows it waits on the stack
 *      LOOP    begins counted repetition: the number of rounds begun waits on the stack
 *      AGAIN   the end of a round: one more, or on behind the loop
 *      RETURN  the end of a rule, and with an empty stack of the whole text
 *      START   where a trigger has been read: the position stands for a whole state (trigger.c)
 *
 * A character of a class becomes READs that follow UTF-8 byte by byte, so half a character is a position like any other.
 * Endless repetition needs no count: it is a FORK that its body leads back to. */
#ifndef LT_GRAMMAR_PROGRAM_H
#define LT_GRAMMAR_PROGRAM_H

#include "grammar/tree.h"

enum { LT_AT_RETURN = 1, LT_AT_READ, LT_AT_TOKEN, LT_AT_FORK, LT_AT_CALL, LT_AT_LOOP, LT_AT_AGAIN, LT_AT_START };
enum { LT_RETURN = 0 }; /* the one RETURN is position 0 */
enum {
    LT_PROGRAM_MAX_POSITIONS = 1 << 20,
    LT_PROGRAM_MAX_EDGES = 1 << 21,
    LT_PROGRAM_MAX_EMPTY_ROUNDS = 256 /* n of {m,n} where what is repeated may be empty */
};

typedef struct {
    uint8_t kind; /* LT_AT_* */
    uint8_t flag; /* READ: waiting for a trigger, everything is allowed.  TOKEN: any token with text but this one */
    uint16_t n;   /* READ: edges */
    uint32_t a;   /* READ: first edge.  TOKEN: id.  FORK: first link.  CALL: rule.  LOOP, AGAIN: loop.  START: trigger */
    uint32_t b;   /* TOKEN, CALL: what follows.  FORK: links */
} lt_position;

typedef struct {
    uint8_t low, high;
    uint32_t to;
} lt_edge;

typedef struct {
    uint32_t min, max;         /* max LT_ENDLESS: none */
    uint32_t body, next, again; /* positions: first of a round, behind the loop, its AGAIN */
    uint8_t may_be_empty;      /* a round may read nothing; min is 0 then */
} lt_loop;

typedef struct {
    uint32_t entry;
    uint8_t may_be_empty;
} lt_rule;

typedef struct {
    LT_LIST(lt_position) at;
    LT_LIST(lt_edge) edges;
    LT_LIST(uint32_t) links;
    LT_LIST(lt_loop) loops;
    LT_LIST(lt_rule) rules;
    uint32_t root; /* rule */
    uint8_t class_of[256]; /* bytes that no edge tells apart share a class */
    uint8_t byte_of[256];  /* [n_classes] one byte of each */
    uint32_t n_classes;
} lt_program;

int lt_program_compile(lt_program *p, const lt_tree *t); /* every rule; LT_E_LIMIT when it gets too large */
int lt_program_check(lt_program *p, const lt_tree *t);   /* check.c: what may be empty; left recursion is refused */
void lt_program_class_bytes(lt_program *p);
void lt_program_free(lt_program *p);

/* ---- for the compiler's files --------------------------------------------------------------------------------------- */

/* A new position, its number in *out. */
int lt_program_add(lt_program *p, lt_position position, uint32_t *out);
int lt_program_add_read(lt_program *p, const lt_edge *edges, uint32_t n, uint32_t *out);
/* utf8.c: positions that read one character of the ranges (sorted, apart), then go on at `next`. */
int lt_program_add_class(lt_program *p, const lt_rune_range *r, uint32_t n, uint32_t next, uint32_t *out);
uint32_t lt_rune_to_utf8(uint32_t rune, uint8_t out[4]); /* bytes */
int lt_program_add_fork(lt_program *p, const uint32_t *to, uint32_t n, uint32_t *out);

/* words.c: a choice of texts, sorted into a tree of their bytes, so that reading goes on at one position instead of many. */
typedef struct {
    const uint8_t *text;
    uint32_t n;
    uint32_t rest; /* position behind it */
} lt_word;
int lt_program_add_words(lt_program *p, lt_word *words, uint32_t n, uint32_t *out); /* sorts them; n >= 1 */

#endif

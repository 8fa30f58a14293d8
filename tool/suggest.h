/* SPDX-License-Identifier: MIT */
/* suggest.h - which word was probably meant. Knows words only. */
#ifndef TOOL_SUGGEST_H
#define TOOL_SUGGEST_H

/* How many single-character edits (insert, delete, replace, swap of neighbours) turn one word into
 * the other. Words longer than 31 characters are as far apart as anything can be. */
int suggest_distance(const char *a, const char *b);

/* Collects candidates one by one and keeps the nearest that is near enough to be worth offering. */
struct suggestion {
    const char *typed;
    const char *best; /* NULL: nothing near */
    int distance;
};
void suggest_begin(struct suggestion *suggestion, const char *typed);
void suggest_offer(struct suggestion *suggestion, const char *candidate);

#endif

/* SPDX-License-Identifier: MIT */
/* suggest.c - which word was probably meant. Knows words only. */
#include "suggest.h"

#include <limits.h>
#include <string.h>

#define WORD_MAX 31

static int least(int a, int b)
{
    return a < b ? a : b;
}

int suggest_distance(const char *a, const char *b)
{
    int rows[3][WORD_MAX + 1];
    int *before = rows[0];
    int *above = rows[1];
    int *row = rows[2];
    size_t a_count = strlen(a);
    size_t b_count = strlen(b);

    if (a_count > WORD_MAX || b_count > WORD_MAX) {
        return INT_MAX;
    }
    for (size_t j = 0; j <= b_count; j++) {
        above[j] = before[j] = (int)j;
    }
    for (size_t i = 1; i <= a_count; i++) {
        int *recycled = before;

        row[0] = (int)i;
        for (size_t j = 1; j <= b_count; j++) {
            int cost = a[i - 1] == b[j - 1] ? 0 : 1;

            row[j] = least(above[j - 1] + cost, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = least(row[j], before[j - 2] + 1);
            }
        }
        before = above;
        above = row;
        row = recycled;
    }
    return above[b_count];
}

void suggest_begin(struct suggestion *suggestion, const char *typed)
{
    size_t count = strlen(typed);

    suggestion->typed = typed;
    suggestion->best = NULL;
    /* One slip in a short word, three in a long one: more is another word. */
    suggestion->distance = count < 4 ? 2 : count < 8 ? 3 : 4;
}

void suggest_offer(struct suggestion *suggestion, const char *candidate)
{
    int distance = suggest_distance(suggestion->typed, candidate);

    if (distance < suggestion->distance) {
        suggestion->distance = distance;
        suggestion->best = candidate;
    }
}

/* SPDX-License-Identifier: MIT */
/* seqlock.h - the memory orders of words that are read beside a sequence number.
 *
 * A reader loads the number, then words, then looks at the number again. Where
 * the compiler knows fences, the words are relaxed and one fence on each side
 * orders them. Thread sanitizer does not know fences; there the words themselves
 * carry the order. */
#ifndef Q2_IMAGE_SEQLOCK_H
#define Q2_IMAGE_SEQLOCK_H

#include <stdatomic.h>

#if defined(__SANITIZE_THREAD__)
#define Q2_WITH_FENCES 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define Q2_WITH_FENCES 0
#endif
#endif
#ifndef Q2_WITH_FENCES
#define Q2_WITH_FENCES 1
#endif

#if Q2_WITH_FENCES
#define Q2_WORD_LOAD    memory_order_relaxed
#define Q2_WORD_STORE   memory_order_relaxed
#define Q2_FENCE(order) atomic_thread_fence(order)
#else
#define Q2_WORD_LOAD    memory_order_acquire
#define Q2_WORD_STORE   memory_order_release
#define Q2_FENCE(order) ((void)0)
#endif

#endif

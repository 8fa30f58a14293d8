/* SPDX-License-Identifier: MIT */
/* glibc_names.c - the few names of glibc that musl lacks and a distribution's decoders ask for.
 * Built as a shared library of its own, only where tests of the musl build load libraries that were
 * compiled for glibc. Nothing of ours calls any of these.
 *
 * The _chk calls are what _FORTIFY_SOURCE makes of ordinary ones. Their bounds are not checked here:
 * it is our code that is under test. The contexts are those of libcrypto's asynchronous jobs, which
 * nobody starts: they answer that the machine has none. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

void *__memcpy_chk(void *to, const void *from, size_t count, size_t room);
void *__memset_chk(void *to, int byte, size_t count, size_t room);
char *__strcat_chk(char *to, const char *from, size_t room);
char *__strncpy_chk(char *to, const char *from, size_t count, size_t room);
int __printf_chk(int flag, const char *format, ...);
int __fprintf_chk(FILE *stream, int flag, const char *format, ...);
int __vfprintf_chk(FILE *stream, int flag, const char *format, va_list args);
int __snprintf_chk(char *to, size_t count, int flag, size_t room, const char *format, ...);
int __vsnprintf_chk(char *to, size_t count, int flag, size_t room, const char *format,
                    va_list args);
void __syslog_chk(int priority, int flag, const char *format, ...);
void __longjmp_chk(jmp_buf where, int value);
long __fdelt_chk(long descriptor);
int getcontext(void *context);
int setcontext(const void *context);
void makecontext(void *context, void (*function)(void), int count, ...);

void *__memcpy_chk(void *to, const void *from, size_t count, size_t room)
{
    (void)room;
    return memcpy(to, from, count);
}

void *__memset_chk(void *to, int byte, size_t count, size_t room)
{
    (void)room;
    return memset(to, byte, count);
}

char *__strcat_chk(char *to, const char *from, size_t room)
{
    (void)room;
    return strcat(to, from);
}

char *__strncpy_chk(char *to, const char *from, size_t count, size_t room)
{
    (void)room;
    return strncpy(to, from, count);
}

int __vfprintf_chk(FILE *stream, int flag, const char *format, va_list args)
{
    (void)flag;
    return vfprintf(stream, format, args);
}

int __printf_chk(int flag, const char *format, ...)
{
    va_list args;
    int written;

    va_start(args, format);
    written = __vfprintf_chk(stdout, flag, format, args);
    va_end(args);
    return written;
}

int __fprintf_chk(FILE *stream, int flag, const char *format, ...)
{
    va_list args;
    int written;

    va_start(args, format);
    written = __vfprintf_chk(stream, flag, format, args);
    va_end(args);
    return written;
}

int __vsnprintf_chk(char *to, size_t count, int flag, size_t room, const char *format, va_list args)
{
    (void)flag;
    (void)room;
    return vsnprintf(to, count, format, args);
}

int __snprintf_chk(char *to, size_t count, int flag, size_t room, const char *format, ...)
{
    va_list args;
    int written;

    va_start(args, format);
    written = __vsnprintf_chk(to, count, flag, room, format, args);
    va_end(args);
    return written;
}

void __syslog_chk(int priority, int flag, const char *format, ...)
{
    va_list args;

    (void)flag;
    va_start(args, format);
    vsyslog(priority, format, args);
    va_end(args);
}

void __longjmp_chk(jmp_buf where, int value)
{
    longjmp(where, value);
}

/* The index of a descriptor's word in an fd_set. */
long __fdelt_chk(long descriptor)
{
    return descriptor / (8 * (long)sizeof(long));
}

int getcontext(void *context)
{
    (void)context;
    errno = ENOSYS;
    return -1;
}

int setcontext(const void *context)
{
    (void)context;
    errno = ENOSYS;
    return -1;
}

void makecontext(void *context, void (*function)(void), int count, ...)
{
    (void)context;
    (void)function;
    (void)count;
    abort();
}

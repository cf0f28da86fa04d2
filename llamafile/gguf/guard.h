/* Turns SIGBUS in a mapped file, which means that the file was cut short or its disk fails, into one line and an end. */
#ifndef LF_GUARD_H
#define LF_GUARD_H

#include <stdint.h>

/* cdef-begin */

/* Watch a mapping; `line` is what is said when it cannot be read any more. 0, or -1 where there is no more room. */
int lf_guard_add(const void *address, int64_t length, const char *line);
/* Forget a mapping before it goes. */
void lf_guard_remove(const void *address);
/* The terminal on fd as it is now is what it is made again before the end; -1 forgets it. */
void lf_guard_terminal(int fd);

/* cdef-end */
#endif

/* The handler of SIGBUS. It runs in whatever thread touched the page: what it calls is safe there. */
#define _GNU_SOURCE
#include "guard.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { LF_GUARDED = 256, LF_EXIT_STATUS = 1 };

/* A slot counts once its length is not 0, which is stored last; a handler never sees half of one. */
static struct {
    _Atomic uintptr_t address;
    _Atomic int64_t length;
    _Atomic(char *) line;
} lf_guarded[LF_GUARDED];
static struct termios lf_terminal;
static atomic_int lf_terminal_fd = -1;
static atomic_int lf_dying;

static void lf_say(const char *text) {
    size_t size = strlen(text);
    while (size) {
        ssize_t done = write(2, text, size);
        if (done <= 0) return;
        text += done, size -= (size_t)done;
    }
}

static const char *lf_line_of(uintptr_t address) {
    for (int i = 0; i < LF_GUARDED; i++) {
        int64_t length = atomic_load(&lf_guarded[i].length);
        if (length && address - atomic_load(&lf_guarded[i].address) < (uint64_t)length)
            return atomic_load(&lf_guarded[i].line);
    }
    return 0;
}

/* Elsewhere it is a fault of the program: the system's own end comes when the handler returns. */
static void lf_bus_error(int number, siginfo_t *about, void *context) {
    (void)context;
    const char *line = about->si_code == BUS_ADRERR ? lf_line_of((uintptr_t)about->si_addr) : 0;
    if (!line) {
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    while (atomic_exchange(&lf_dying, 1)) poll(0, 0, -1); /* another thread is saying it */
    int fd = atomic_load(&lf_terminal_fd);
    if (fd >= 0) tcsetattr(fd, TCSANOW, &lf_terminal);
    lf_say(line);
    _exit(LF_EXIT_STATUS);
}

int lf_guard_add(const void *address, int64_t length, const char *line) {
    struct sigaction action = {.sa_sigaction = lf_bus_error, .sa_flags = SA_SIGINFO};
    for (int i = 0; i < LF_GUARDED; i++) {
        if (atomic_load(&lf_guarded[i].line)) continue;
        char *copy = strdup(line);
        if (!copy) return -1;
        atomic_store(&lf_guarded[i].line, copy);
        atomic_store(&lf_guarded[i].address, (uintptr_t)address);
        atomic_store(&lf_guarded[i].length, length);
        return sigaction(SIGBUS, &action, 0);
    }
    return -1;
}

void lf_guard_remove(const void *address) {
    for (int i = 0; i < LF_GUARDED; i++) {
        if (!atomic_load(&lf_guarded[i].length) || atomic_load(&lf_guarded[i].address) != (uintptr_t)address) continue;
        char *line = atomic_load(&lf_guarded[i].line);
        atomic_store(&lf_guarded[i].length, 0);
        atomic_store(&lf_guarded[i].line, 0);
        free(line);
        return;
    }
}

void lf_guard_terminal(int fd) {
    atomic_store(&lf_terminal_fd, -1);
    if (fd >= 0 && !tcgetattr(fd, &lf_terminal)) atomic_store(&lf_terminal_fd, fd);
}

/* Moves a process's wall clock by RELAY_SHIFT_S seconds: a clinic whose clock nobody has set. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t id, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    static long shift;
    if (!real) {
        const char *text = getenv("RELAY_SHIFT_S");
        shift = text ? atol(text) : 0;
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    }
    int result = real(id, at);
    if (result == 0 && id == CLOCK_REALTIME) at->tv_sec += shift;
    return result;
}

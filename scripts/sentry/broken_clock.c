// Loaded before the C library. The wall clock fails once after the file that BREAK_CLOCK names appears, and Rust's standard library
// panics. No other fault reaches a panic of the gateway from outside.
//
// The thread that reads the clock first gets the time once more, and an error then: while a request arrives, the first readings are that
// of the HTTP library, for the date of responses, and that of the gate.
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static __thread int readings_left;

int clock_gettime(clockid_t clock, struct timespec *time) {
  if (clock == CLOCK_REALTIME) {
    const char *file = getenv("BREAK_CLOCK");
    if (readings_left > 0 && --readings_left == 0) {
      errno = EINVAL;
      return -1;
    }
    // Only one caller removes the file.
    if (file && unlink(file) == 0) readings_left = 2;
  }
  return (int)syscall(SYS_clock_gettime, clock, time);
}

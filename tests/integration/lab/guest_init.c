/* The only program of a lab guest, so that it boots in a second or two under emulation.
 *
 * Ten times a second it writes "tick N MS" to its serial port: a count that starts at 1 with each
 * boot, and milliseconds of its own monotonic clock, which stands still while the guest is paused.
 * It powers off when the power button is pressed. On a first disk it keeps the number of its last
 * tick, in the first eight bytes. Of the kernel's command line it knows:
 *   dirty_mib=N        hold N MiB of random bytes
 *   dirty_mib_per_s=N  and write to that many of their pages a second, expressed in MiB
 *   busy_percent=N     keep the CPU busy for that share of each tick
 *   power_off_s=N      tick on for so long after the power button was pressed
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { TICK_MS = 100, SLICE_MS = 10, PAGE = 4096, PAGES_PER_MIB = 256 };

static int serial;
static char command_line[4096];

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void sleep_ms(int64_t duration_ms) {
  if (duration_ms > 0)
    usleep(duration_ms * 1000);
}

static void read_command_line(void) {
  int file = open("/proc/cmdline", O_RDONLY);
  ssize_t length = read(file, command_line + 1, sizeof command_line - 2);
  command_line[0] = ' ';
  command_line[length > 0 ? length + 1 : 1] = '\0';
  close(file);
}

static long argument(const char *name) {
  char pattern[64];
  snprintf(pattern, sizeof pattern, " %s=", name);
  const char *found = strstr(command_line, pattern);
  return found ? atol(found + strlen(pattern)) : 0;
}

/* In the order of /modules/list: each after those it needs. */
static void load_modules(void) {
  char path[128];
  FILE *list = fopen("/modules/list", "r");
  while (list && fscanf(list, "%127s", path) == 1) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (syscall(SYS_finit_module, file, "", 0) != 0)
      dprintf(serial, "cannot load %s: %m\n", path);
    close(file);
  }
  if (list)
    fclose(list);
}

/* Random words: neither zero pages nor compression spare a migration from sending them. */
static void hold_memory(size_t num_pages, long num_pages_per_s) {
  uint64_t *memory = mmap(NULL, num_pages * PAGE, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    dprintf(serial, "no memory to hold\n");
    _exit(1);
  }
  uint64_t random = 88172645463325252ULL ^ (uint64_t)now_ms();
  for (size_t word = 0; word < num_pages * PAGE / sizeof *memory; word++) {
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    memory[word] = random;
  }
  dprintf(serial, "filled\n");
  int64_t begun_ms = now_ms();
  for (int64_t written = 0;; sleep_ms(SLICE_MS))
    for (int64_t due = (now_ms() - begun_ms) * num_pages_per_s / 1000; written < due; written++)
      memory[written % num_pages * (PAGE / sizeof *memory)]++;
}

static void be_busy(long percent) {
  for (;; sleep_ms(TICK_MS - TICK_MS * percent / 100))
    for (int64_t end_ms = now_ms() + TICK_MS * percent / 100; now_ms() < end_ms;)
      ;
}

static void start_load(void) {
  long dirty_mib = argument("dirty_mib"), busy_percent = argument("busy_percent");
  if (dirty_mib > 0 && fork() == 0)
    hold_memory(dirty_mib * PAGES_PER_MIB, argument("dirty_mib_per_s") * PAGES_PER_MIB);
  if (busy_percent > 0 && fork() == 0)
    be_busy(busy_percent);
}

static int find_power_button(void) {
  for (int number = 0; number < 8; number++) {
    char path[32], name[32] = "";
    snprintf(path, sizeof path, "/dev/input/event%d", number);
    int file = open(path, O_RDONLY | O_NONBLOCK);
    ioctl(file, EVIOCGNAME(sizeof name - 1), name);
    if (strcmp(name, "Power Button") == 0)
      return file;
    close(file);
  }
  dprintf(serial, "no power button\n");
  return -1;
}

static bool is_pressed(int button) {
  struct input_event event;
  bool pressed = false;
  while (read(button, &event, sizeof event) == sizeof event)
    pressed |= event.type == EV_KEY && event.code == KEY_POWER && event.value == 1;
  return pressed;
}

static void power_off_in_time(bool pressed) {
  static int64_t pressed_ms = INT64_MAX;
  if (pressed && pressed_ms == INT64_MAX)
    pressed_ms = now_ms();
  if (pressed_ms != INT64_MAX && now_ms() - pressed_ms >= argument("power_off_s") * 1000) {
    dprintf(serial, "power off\n");
    reboot(RB_POWER_OFF);
  }
}

/* The time is that of the wake-up, so that ticks of one guest are never closer than TICK_MS. */
static void tick(int disk, uint64_t *block, int64_t woken_ms) {
  static int64_t number;
  number++;
  if (disk >= 0) {
    *block = number;
    if (pwrite(disk, block, 512, 0) != 512)
      dprintf(serial, "cannot write to the disk: %m\n");
  }
  dprintf(serial, "tick %lld %lld\n", (long long)number, (long long)woken_ms);
}

int main(void) {
  mount("dev", "/dev", "devtmpfs", 0, NULL);
  mount("proc", "/proc", "proc", 0, NULL);
  serial = open("/dev/ttyS0", O_WRONLY | O_NOCTTY | O_CLOEXEC);
  dprintf(serial, "\nboot\n");
  read_command_line();
  load_modules();
  start_load();
  struct pollfd button = {.fd = find_power_button(), .events = POLLIN};
  int disk = open("/dev/vda", O_RDWR | O_DIRECT | O_CLOEXEC);
  uint64_t *block = aligned_alloc(PAGE, PAGE);
  memset(block, 0, PAGE);
  for (;;) {
    int64_t woken_ms = now_ms(), next_ms = woken_ms + TICK_MS;
    tick(disk, block, woken_ms);
    power_off_in_time(false);
    for (int64_t left_ms; (left_ms = next_ms - now_ms()) > 0;)
      if (poll(&button, 1, left_ms) > 0)
        power_off_in_time(is_pressed(button.fd));
  }
}
